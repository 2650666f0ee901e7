from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import default_collate

from isopleth.data import Windows, make_loader, open_store
from isopleth.errors import ConfigError, DataError


def chunk(store, step: int) -> Path:
    return store.path / "fields" / f"c.{step}.0.0.0"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, empty, flip, Path.unlink])
def test_a_damaged_chunk_names_the_store_and_the_time_step(store, damage) -> None:
    damage(chunk(store, 9))
    message = r"time step 9 \(2000-01-03T06:00:00\) of a packed store must be readable.*fields\.zarr"
    reads = [
        lambda: store.read([9]),
        lambda: store.read(slice(None)),
        lambda: store.read([20, 9, 3]),
        store.verify,
        lambda: Windows(store, memory_budget=0)[8],
        lambda: Windows(store)[8],
    ]
    for read in reads:
        with pytest.raises(DataError, match=message):
            read()
    assert store.read([8, 10]).shape[0] == 2


@pytest.mark.parametrize("damage", [truncate, Path.unlink])
@pytest.mark.parametrize("options", [{"compress": True}, {"dtype": "bfloat16"}, {"dtype": "float16"}])
def test_every_kind_of_store_finds_damage(fields, repack, damage, options: dict) -> None:
    store = repack(fields, **options)
    damage(chunk(store, 2))
    with pytest.raises(DataError, match=r"time step 2 "):
        store.read(slice(None))


def test_a_damaged_shard_or_mask_is_found(fields, repack) -> None:
    fields["2m_temperature"][:, 0] = np.nan
    sharded = repack(fields, steps_per_shard=6, missing="mask")
    truncate(chunk(sharded, 1))
    with pytest.raises(DataError, match=r"time step 6 "):
        sharded.read(slice(None))
    (sharded.path / "valid" / "c.3.0.0.0").unlink()
    with pytest.raises(DataError, match=r"time step 18 .*its chunk is missing"):
        sharded.read_valid(slice(None))


def test_verify_finds_values_that_were_changed(store) -> None:
    import zarr

    store.verify()
    array = zarr.open_array(store.path / "fields", mode="r+")
    array[5, 0, 0, 0] = 0.123
    with pytest.raises(DataError, match=r"time step 5 .*not those that were written"):
        open_store(store.path).verify()


@pytest.mark.parametrize("name", ["store.json", "normaliser.json", "fields/zarr.json", "fields"])
def test_deleted_metadata_is_one_data_error(store, name: str) -> None:
    path = store.path / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match=r"fields\.zarr"):
        open_store(store.path).read([0])


@pytest.mark.parametrize("name", ["store.json", "normaliser.json", "fields/zarr.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null"])
def test_damaged_metadata_is_one_data_error(store, name: str, content: str) -> None:
    (store.path / name).write_text(content)
    with pytest.raises(DataError, match=r"fields\.zarr"):
        open_store(store.path).read([0])


@pytest.mark.parametrize("key", ["channels", "time", "grid", "dtype", "has_mask", "plan"])
def test_a_record_without_a_part_is_one_data_error(store, key: str) -> None:
    path = store.path / "store.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({name: record[name] for name in record if name != key}))
    with pytest.raises(DataError, match=f"store.json must be whole, got KeyError.'{key}'"):
        open_store(store.path)


def test_a_store_of_another_version_says_so(store) -> None:
    path = store.path / "store.json"
    path.write_text(path.read_text().replace("isopleth.store/1", "isopleth.store/7"))
    with pytest.raises(DataError, match=r"must be of version isopleth.store/1, got isopleth.store/7"):
        open_store(store.path)


def test_a_record_of_another_store_is_refused(store, make_fields, repack) -> None:
    other = repack(make_fields(12))
    shutil.copy(other.path / "store.json", store.path / "store.json")
    with pytest.raises(DataError, match=r"must be of shape"):
        open_store(store.path).read([0])


def test_no_store_says_what_to_do(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.zarr"):
        with pytest.raises(
            DataError, match=r"must be a folder with store\.json, got none.*isopleth\.data\.pack"
        ):
            open_store(path)


def test_rows_outside_are_refused(store) -> None:
    for rows in ([24], [-1], [3, 99]):
        with pytest.raises(DataError, match=r"time steps must lie in \[0, 24\)"):
            store.read(rows)
    assert store.read([]).shape == (0, 4, 6, 8)


def test_unknown_channels_name_those_there_are(store) -> None:
    with pytest.raises(ConfigError, match=r"'salinity' must be one of the 4 in the store.*2m_temperature"):
        Windows(store, target_channels=["salinity"])


def test_damage_in_a_worker_reaches_the_user_as_it_is(store) -> None:
    truncate(chunk(store, 9))
    loader = make_loader(
        Windows(store, memory_budget=0), batch_size=4, shuffle=False, workers=1, start_method="fork"
    )
    with pytest.raises(DataError, match=r"time step 9 ") as error:
        list(loader)
    assert error.value.hint == "pack it again with resume=False"
    assert "Traceback" not in str(error.value)


def test_opening_reads_no_array_and_holds_no_file(store) -> None:
    files = Path("/proc/self/fd")
    before = len(list(files.iterdir())) if files.is_dir() else 0
    again = open_store(store.path)
    assert again._arrays == {}
    again.read(slice(None))
    assert not files.is_dir() or len(list(files.iterdir())) <= before


def test_samples_of_a_plain_data_loader_are_the_same(store) -> None:
    from torch.utils.data import DataLoader

    windows = Windows(store, memory_budget=0)
    batch = next(iter(DataLoader(windows, batch_size=5)))
    whole = windows[range(5)]
    assert all((batch[name] == whole[name]).all() for name in whole)
    assert default_collate([windows[0], windows[1]])["inputs"].shape == (2, 2, 4, 6, 8)
