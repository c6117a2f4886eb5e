"""What is in a package and not in its folder of the checkout: `conf/`, and the commit."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
from beyond.installed import CONF, PACKAGE, ROOT, STAMP, commit


class PackageHook(BuildHookInterface):
    """Add the files; an editable install has none of them, it is the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name them to the builder."""
        self.folder = TemporaryDirectory()
        if version == "editable":
            return
        added: dict[str, str] = build_data["force_include"]
        if self.target_name == "wheel":
            added[str(CONF)] = f"{PACKAGE.name}/{CONF.name}"
        if (ROOT / ".git").exists():  # else the sources came with the file, or have none
            stamp = Path(self.folder.name, STAMP.name)
            stamp.write_text(json.dumps(commit()) + "\n", encoding="utf-8")
            added[str(stamp)] = f"{PACKAGE.name}/{STAMP.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was written for it."""
        self.folder.cleanup()
