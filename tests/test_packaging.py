"""What is shipped: the wheel's names, the lock's purity, the start-up time of the command's imports."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("dmarcview", "dmarcview_relay", "dmarcview_reports", "dmarcview_smtp")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and sdist as `make build` makes them."""
    out = tmp_path_factory.mktemp("dist")
    uv = Path(sys.executable).with_name("uv")
    run = subprocess.run(
        [str(uv), "build", "--quiet", "--out-dir", str(out), str(ROOT)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return out


def test_wheel_installs_only_names_that_begin_with_dmarcview(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert all(top.startswith("dmarcview") for top in tops)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)


def test_wheel_carries_every_data_file_of_the_packages(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "dmarcview"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    missing = [name for name in tracked if name and name not in names]
    assert not missing


def test_sdist_builds_from_its_own_files(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = [name.split("/", 1)[1] for name in archive.getnames() if "/" in name]
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= set(names)
    assert any(name.startswith("reports/dmarcview_reports/") for name in names)


def test_lock_pins_each_dependency_with_hashes_and_names_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^([a-z0-9._-]+(?:\[[a-z,]+\])?)==", text, re.M | re.I)
    assert len(pins) > 30
    assert "://" not in text
    assert " @ " not in text
    for block in re.split(r"\n(?=[A-Za-z0-9])", text.strip()):
        if "==" in block.split("\n")[0]:
            assert "--hash=sha256:" in block, block.split("\n")[0]


def test_light_start_loads_no_heavy_library() -> None:
    heavy = ("pandas", "duckdb", "dash", "pyarrow", "sqlalchemy", "lxml", "plotly", "rich")
    code = (
        "import sys\n"
        "from dmarcview.cli import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().split("\n")[-1] == "[]"


def test_receiver_starts_without_pandas_duckdb_or_dash() -> None:
    code = (
        "import sys, dmarcview_reports.receive\n"
        "print([name for name in ('pandas', 'duckdb', 'dash', 'pyarrow', 'numpy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
