#!/bin/sh
# Makes the README's picture of a report: runs the demo, asks for the report of it, and lets a browser draw that.
#
# usage: report-picture.sh BIN PICTURE, with the paths of the folder of programs and of the picture
set -eu

bin=${1:?usage: report-picture.sh BIN PICTURE}
picture=${2:?usage: report-picture.sh BIN PICTURE}
work=$(mktemp -d)

"$bin/rotatessh" demo --workers 20 --keep >"$work/demo" &
demo=$!
trap 'kill -INT $demo 2>/dev/null || true; wait $demo || true; rm -rf "$work"' EXIT
until grep -q '^export ' "$work/demo"; do
	kill -0 $demo || exit 1
	sleep 1
done
eval "$(grep -E '^(AWS_[A-Z_]*=|export )' "$work/demo")"
"$bin/rotatessh" report --html "$work/report.html"
ROTATESSH_PICTURE_FROM=$work/report.html ROTATESSH_PICTURE_TO=$picture go test -tags browsertest -count=1 -v -run '^TestPicture$' ./rotator/internal/report
