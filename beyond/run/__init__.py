"""The harness: settings in, tables out."""
