#!/bin/sh
# Fetches axe-core, which checks pages for accessibility, into FOLDER and prints the path of its script. The package
# is pinned by its hash. Says why and prints nothing where it cannot be had.
#
# usage: axe.sh FOLDER
set -eu

folder=${1:?usage: axe.sh FOLDER}
version=4.14.1
sum=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745

say() { echo "axe.sh: $*" >&2; }

mkdir -p "$folder"
tarball=$folder/axe-core-$version.tgz
right() { echo "$sum  $tarball" | sha256sum --check --status 2>/dev/null; }

if ! right; then
	rm -f "$tarball"
	command -v npm >/dev/null || { say "there is no npm to fetch axe-core $version with"; exit 0; }
	(cd "$folder" && npm pack --silent "axe-core@$version" >/dev/null) || { say "axe-core $version could not be fetched"; exit 0; }
	right || { say "the package of axe-core $version is not the one that is expected"; exit 1; }
fi
tar -xzf "$tarball" -C "$folder" --strip-components=1 package/axe.min.js
echo "$folder/axe.min.js"
