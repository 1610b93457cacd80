"""Data sets of the Hugging Face hub by name: the Parquet files that the hub makes of every public one.

Format: huggingface.co/docs/dataset-viewer/parquet: the branch ``refs/convert/parquet`` holds
``CONFIG/SPLIT/0000.parquet`` and so on; of data sets that are too large the first part alone, under
``CONFIG/partial-SPLIT``. The columns are those of `data.sources.generic`, ``image`` a struct of bytes and
path. Files are fetched one after the other, as far as rows are asked for, and kept in the hub's cache, from
which they are read without a network too. Tried against a made hub only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from data.records import ImageSource, Sample
from data.sources.files import Row, SourceError
from data.sources.generic import samples
from data.sources.parquet import NEEDED, opened_by, parquet_rows
from data.sources.skipped import Skipped

BRANCH = "refs/convert/parquet"
PARTIAL = "partial-"
_NAME = re.compile(r"[\w.-]+(/[\w.-]+){1,3}", re.ASCII)
_OTHERWISE = (
    "Without a network, copy the data set here: hf:FOLDER reads what save_to_disk wrote, parquet:FOLDER a "
    "repository's Parquet files."
)


def is_name(where: str) -> bool:
    """Whether ``where`` may name a data set of the hub: OWNER/NAME, and if wanted CONFIG and SPLIT."""
    return _NAME.fullmatch(where) is not None


def read(where: str, skipped: Skipped) -> Iterator[Sample]:
    """The samples of ``OWNER/NAME``, ``OWNER/NAME/SPLIT`` or ``OWNER/NAME/CONFIG/SPLIT``, streamed.

    Raises `SourceError` when neither the hub nor its cache here has the data set, when the hub has no Parquet
    of it, and when ``where`` does not name one split, listing those there are.
    """
    owner, name, *part = where.split("/")
    repository = f"{owner}/{name}"
    files = _of_one_split(repository, part, _listed(repository))
    rows = (row for file in files for row in parquet_rows(_fetched(repository, file), NEEDED, ("image",)))
    return samples(name, rows, _embedded, skipped)


def _embedded(row: Row) -> tuple[str, ImageSource]:
    """An `data.sources.generic.Opener`: pictures are in the rows, or cannot be had."""
    if isinstance(image := row.values.get("image"), str):
        raise SourceError(f"{row.where}: image is {image!r}; of a data set by name the pictures are inside.")
    image = opened_by(row)
    if row.values.get("image_id") not in (None, ""):
        return row.text("image_id"), image
    return "/".join(Path(row.where).parts[-3:]), image  # CONFIG/SPLIT/0000.parquet, row 1


def _of_one_split(repository: str, part: Sequence[str], files: Sequence[str]) -> list[str]:
    """The files of the split that ``part`` names: (), (SPLIT) or (CONFIG, SPLIT)."""
    splits: dict[tuple[str, str], list[str]] = {}
    for file in sorted(files):
        config, _, rest = file.partition("/")
        split, _, last = rest.partition("/")
        if last.endswith(".parquet") and "/" not in last:
            splits.setdefault((config, split), []).append(file)
    asked = tuple(part)
    found = [key for key in splits if asked == () or asked in (key, key[1:])]
    if len(found) == 1:
        return splits[found[0]]
    there = ", ".join(f"hf:{repository}/{config}/{split}" for config, split in splits)
    if not splits:
        raise SourceError(f"{repository} has no Parquet files under {BRANCH} on the hub. {_OTHERWISE}")
    cut = (*asked[:-1], f"{PARTIAL}{asked[-1]}") if asked else ()
    if not found and any(cut in (key, key[1:]) for key in splits):
        raise SourceError(
            f"The hub made Parquet files of a first part of {repository}/{'/'.join(asked)} alone. Ask for "
            f"that part, hf:{repository}/{'/'.join(cut)}, or copy the whole. {_OTHERWISE}"
        )
    which = "several splits" if found else f"no split {'/'.join(asked)!r}"
    raise SourceError(f"{repository} has {which}. Name one: {there}.")


def _listed(repository: str) -> list[str]:
    """The files of the branch, as the hub lists them, or as far as the cache here has them."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        return HfApi().list_repo_files(repository, repo_type="dataset", revision=BRANCH)
    except RevisionNotFoundError:
        return []
    except RepositoryNotFoundError as error:  # gated ones too
        raise SourceError(
            f"{repository} is no folder here, and no data set that the hub would give "
            f"({type(error).__name__}). If it is private or gated, log in: `hf auth login`."
        ) from None
    except Exception as error:  # no network, of many kinds; what was fetched before is still there
        try:
            cached = Path(
                snapshot_download(repository, repo_type="dataset", revision=BRANCH, local_files_only=True)
            )
        except Exception:
            raise SourceError(
                f"{repository} is no folder here, and the hub cannot be asked for it "
                f"({type(error).__name__}). {_OTHERWISE}"
            ) from None
        return [path.relative_to(cached).as_posix() for path in cached.rglob("*.parquet")]


def _fetched(repository: str, file: str) -> Path:
    """The file in the hub's cache."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, file, repo_type="dataset", revision=BRANCH))
    except Exception as error:  # many kinds: offline, interrupted, disk full
        raise SourceError(
            f"{file} of {repository} could not be fetched from the hub ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no reason given'}). {_OTHERWISE}"
        ) from None
