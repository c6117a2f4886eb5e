"""Run the notebooks of docs/notebooks: `python -m tests.notebooks` keeps what they show."""

import base64
import io
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "docs" / "notebooks").glob("*.ipynb"))
SECONDS = 300  # of one cell


def executed(path, folder):
    """Return the notebook at a path with what its cells show when they are run in a folder."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    notebook.metadata.pop("language_info", None)  # it has the version of Python
    return notebook


def shown(notebook):
    """Return what each cell shows, a mapping of a kind to its text or picture for each output."""
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return [[one.get("data", {"text": one.get("text")}) for one in cell] for cell in outputs]


def shrunk(picture):
    """Return a PNG, in base64, with a palette: a third of the size."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    small = io.BytesIO()
    image.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(small, "png")
    return base64.b64encode(small.getvalue()).decode()


def main():
    """Run all of them, each in an empty folder."""
    made = {}
    for path in NOTEBOOKS:
        with TemporaryDirectory() as folder:
            made[path] = executed(path, folder)
        for data in chain.from_iterable(shown(made[path])):
            if "image/png" in data:
                data["image/png"] = shrunk(data["image/png"])
    for path, notebook in made.items():  # last: runs say whether something is not committed
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
