"""scripts/manage: which site it runs its command on."""

import subprocess

import pytest

from sasha.tests.test_scripts import Checkout


def manage(tmp_path, *args, **environment):
    """Run the script of a checkout without packages; return its exit code and what it printed."""
    checkout = Checkout(tmp_path)
    checkout.stand_in_for_installers()
    done = subprocess.run(
        [checkout.root / "scripts/manage", *args],
        env=checkout.environment | environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout, checkout


def test_where_no_site_is_the_directory_is_named(tmp_path):
    code, said, checkout = manage(tmp_path, "createsuperuser", DATA_DIR="elsewhere")
    assert code == 1
    assert said.startswith(f"There is no site in {tmp_path / 'elsewhere'}: ")
    assert checkout.count("createsuperuser") == 0


@pytest.mark.parametrize("missing", ["nothing", "an empty file"])
def test_an_empty_database_is_no_site(tmp_path, missing):
    (tmp_path / "data").mkdir()
    if missing == "an empty file":
        (tmp_path / "data/sasha.sqlite3").touch()
    assert manage(tmp_path, "load_catalog", DATA_DIR="data")[0] == 1
    assert not (tmp_path / "data/sasha.sqlite3").exists() or missing == "an empty file"


def test_a_site_is_found_from_where_the_person_stands(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sasha.sqlite3").write_bytes(b"a database")
    code, _, checkout = manage(tmp_path, "load_catalog", DATA_DIR="data")
    assert code == 0
    assert checkout.count("load_catalog") == 1


@pytest.mark.parametrize(("args", "environment"), [(["migrate"], {}), (["shell"], {"DATABASE_URL": "postgres://x"})])
def test_what_needs_no_file_is_not_kept_from_running(tmp_path, args, environment):
    code, _, checkout = manage(tmp_path, *args, DATA_DIR="nowhere", **environment)
    assert code == 0
    assert checkout.count(args[0]) == 1
