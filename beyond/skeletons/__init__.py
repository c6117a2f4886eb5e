"""What `beyond-new` writes: a file of each kind that runs as it stands, to be changed."""
