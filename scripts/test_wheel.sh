#!/bin/sh
# Build the sdist, build the wheel from it, and run tests against the wheel: test_wheel.sh UV PYTHON [pytest arguments].
# Works in build/. Nothing of the source package can be imported, because the tests run in a copy without it.
set -eu
uv=$1 python=$2
shift 2
root=$(pwd)
venv=$root/build/wheel-venv
copy=$root/build/wheel-tests

rm -rf build/dist "$copy"
"$uv" build --quiet --out-dir build/dist
"$uv" export --quiet --frozen --all-extras --all-groups --no-group browser --no-emit-project --output-file build/locked.txt
"$uv" venv --quiet --clear --python "$python" "$venv"
"$uv" pip install --quiet --python "$venv" --require-hashes --requirements build/locked.txt
"$uv" pip install --quiet --python "$venv" --no-deps build/dist/*.whl

mkdir "$copy"
cp -R tests docs pyproject.toml README.md ARCHITECTURE.md "$copy"
cd "$copy"
imported=$("$venv/bin/python" -c 'import llm_magic; print(llm_magic.__file__)')
case $imported in
"$venv"/*/site-packages/llm_magic/__init__.py) echo "testing $imported" ;;
*) echo "imported $imported, which isn't the wheel" >&2 && exit 1 ;;
esac
"$venv/bin/python" -m pytest -p no:cacheprovider "$@"
