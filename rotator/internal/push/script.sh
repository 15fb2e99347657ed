#!/bin/sh
# Brings the managed block of one account's authorized_keys up to date on a machine without rotatessh-agent, and
# prints one line that begins with rotatessh-push/1. Safe to run again at any time; on any doubt it changes nothing.
#
# Keys come in a base64 document on a here-document, are checked, and stay in files. A folder of the user's is
# worked in as the user, so that no link put there can lead root astray.
set -u
umask 077
LC_ALL=C
PATH=${PATH:-/usr/bin:/bin}
command -v sshd >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin:/usr/local/bin
export LC_ALL PATH

work=
trap 'if [ -n "$work" ]; then rm -rf "$work"; fi' EXIT
trap 'exit 130' HUP INT TERM

say() { printf 'rotatessh-push/1 %s\n' "$*"; }
fail() {
	say "outcome=failed code=$1 text=$(printf '%s' "$2" | base64 | tr -d '\n')"
	exit 1
}

for tool in awk base64 mktemp cmp head tail tr; do
	command -v "$tool" >/dev/null 2>&1 || { say "outcome=failed code=no-$tool text="; exit 1; }
done
for base in /run "${TMPDIR:-/tmp}"; do
	work=$(mktemp -d "$base/rotatessh-push.XXXXXXXX" 2>/dev/null) && break
done
[ -n "$work" ] && [ -d "$work" ] || fail no-space "no temporary folder can be made"
chmod 755 "$work" || fail no-space "the temporary folder cannot be used"
umask 022 # the account that the keys are for reads these files; they hold nothing secret

base64 -d >"$work/document" 2>/dev/null <<'DOCUMENT' || fail document "the document is not base64"
@DOCUMENT@
DOCUMENT

cat >"$work/check.awk" <<'CHECK'
function bad() { failed = 1; exit 1 }
NR == 1 { if ($0 != "rotatessh-push 1") bad(); next }
ended { bad() }
$1 == "secret" && NF == 2 && $2 ~ /^arn:[A-Za-z0-9:\/_+=.@-]+$/ { seen["secret"]++; next }
$1 == "version" && NF == 2 && $2 ~ /^[A-Za-z0-9-]+$/ { seen["version"]++; next }
$1 == "generation" && NF == 2 && $2 ~ /^[0-9]+$/ { seen["generation"]++; next }
$1 == "user" && NF == 2 && $2 ~ /^[A-Za-z0-9_][A-Za-z0-9._-]*$/ { seen["user"]++; next }
($1 == "key" || $1 == "retired") && NF == 4 && $2 ~ /^[a-z][a-z0-9@.-]*$/ && $3 ~ /^[A-Za-z0-9+\/]+=*$/ && $4 ~ /^[A-Za-z0-9-]+$/ { keys += $1 == "key"; next }
$1 == "end" && NF == 2 && $2 == NR - 1 { ended = 1; next }
{ bad() }
END { exit !(!failed && ended && keys > 0 && seen["secret"] == 1 && seen["version"] == 1 && seen["generation"] == 1 && seen["user"] == 1) }
CHECK
awk -f "$work/check.awk" "$work/document" || fail document "the document is damaged"
if command -v sha256sum >/dev/null 2>&1; then
	digest=$(sha256sum <"$work/document")
	[ "${digest%% *}" = "@DIGEST@" ] || fail document "the document is damaged"
fi
field() { awk -v name="$1" '$1 == name { print $2; exit }' "$work/document"; }
user=$(field user)

# An agent is the master of its machine's files, with options that this script does not know: it is only woken.
if command -v rotatessh-agent >/dev/null 2>&1; then
	if rotatessh-agent once >/dev/null 2>&1 </dev/null || systemctl reload rotatessh-agent >/dev/null 2>&1 </dev/null; then
		say "outcome=nudged generation=$(field generation)"
		exit 0
	fi
	fail agent "rotatessh-agent is installed and does no pass: rotatessh-agent check there tells why"
fi

# Where sshd itself looks: the first of its files for this user.
command -v sshd >/dev/null 2>&1 || fail no-sshd "there is no sshd"
sshd -T -C "user=$user,host=localhost,addr=127.0.0.1" >"$work/sshd" 2>/dev/null || fail no-sshd "sshd -T does not tell its settings"
entry=$(getent passwd "$user" 2>/dev/null || awk -F: -v user="$user" '$1 == user' /etc/passwd)
[ -n "$entry" ] || fail no-user "there is no account $user"
uid=$(printf '%s' "$entry" | awk -F: '{ print $3; exit }')
home=$(printf '%s' "$entry" | awk -F: '{ print $6; exit }')
file=$(awk '$1 == "authorizedkeysfile" { print $2; exit }' "$work/sshd" | sed -e "s|%u|$user|g" -e "s|%U|$uid|g" -e "s|%h|$home|g" -e 's|%%|%|g')
case $file in
none | "") fail no-file "sshd reads no AuthorizedKeysFile" ;;
/*) ;;
*) file=$home/$file ;;
esac
name=${file##*/}
case $name in
"" | . | .. | *[!A-Za-z0-9._@-]*) fail no-file "the file's name cannot be used" ;;
esac

folder=${file%/*}
missing=
if [ ! -e "$folder" ] && [ ! -h "$folder" ] && [ "${folder%/*}" = "${home%/}" ]; then
	missing=${folder##*/} # usually ~/.ssh
	folder=$home
fi
[ ! -h "$folder" ] || fail symlink "the folder of the file is a link"
cd -P "${folder:-/}" 2>/dev/null || fail no-folder "the folder of the file cannot be entered"
case $missing in
*[!A-Za-z0-9._-]*) fail no-file "the folder's name cannot be used" ;;
esac
owner=$(ls -ldn . | awk '{ print $3; exit }')
[ "$owner" = "$uid" ] || [ "$owner" = 0 ] || fail owner "the folder of the file belongs to neither the user nor root"
me=$(id -u)

# What follows runs in that folder, as its owner, and never leaves it.
cat >"$work/plan.awk" <<'PLAN'
# First the document, then the file: prints the ranges of lines to keep, and "block" where the block goes.
function word(line, skip,    i, c, quoted) {
	sub(/^[ \t]+/, "", line)
	if (skip && line !~ /^(ssh-|ecdsa-|sk-|rsa-|webauthn-)/) {
		for (i = 1; i <= length(line); i++) {
			c = substr(line, i, 1)
			if (c == "\\" && substr(line, i + 1, 1) == "\"") i++
			else if (c == "\"") quoted = !quoted
			else if (!quoted && (c == " " || c == "\t")) break
		}
		line = substr(line, i)
		sub(/^[ \t]+/, "", line)
	}
	return line
}
function blob(line,    part) {
	sub(/\r$/, "", line)
	if (line ~ /^[ \t]*(#|$)/) return ""
	if (split(word(line, 1), part, /[ \t]+/) < 2) return ""
	return part[2]
}
function mark(line,    part) {
	sub(/\r$/, "", line)
	if (split(word(line, 0), part, /[ \t]+/) < 4 || part[1] != "#" || part[3] != "rotatessh") return ""
	if (part[2] != "BEGIN" && part[2] != "END") return ""
	return part[4] == arn ? part[2] : "other"
}
NR == FNR {
	if ($1 == "secret") arn = $2
	if ($1 == "retired") retired[$3] = 1
	next
}
{
	lines = FNR
	m = mark($0)
	if (m == "BEGIN") { if (begin) broken = 1; begin = FNR }
	else if (m == "END") { if (!begin || end) broken = 1; end = FNR }
	else if (m == "other") { if (begin && !end) broken = 1 }
	else if ((b = blob($0)) != "" && b in retired) drop[FNR] = 1
}
END {
	if (broken || (begin && !end)) { print "broken"; exit }
	for (i = 1; i <= lines; i++) {
		gone = (i in drop) || (begin && i >= begin && i <= end)
		if (i == begin || gone) { if (from) print "keep " from " " i - 1; from = 0 }
		if (i == begin) print "block"
		if (!gone && !from) from = i
	}
	if (from) print "keep " from " " lines
	if (!begin) print "append"
}
PLAN
cat >"$work/look.awk" <<'LOOK'
# First the document, then the file as it is now: which keys the block holds, and which retired ones are nowhere.
NR == FNR {
	if ($1 == "secret") arn = $2
	if ($1 == "key") { key[++keys] = $2 " " $3 " " $4 }
	if ($1 == "retired") { gone[++retired] = $3; left[retired] = 1 }
	next
}
{
	inside = ($1 == "#" && $3 == "rotatessh" && $4 == arn) ? ($2 == "BEGIN") : inside
	if (inside) for (i = 1; i <= keys; i++) if ($0 == key[i]) holds[i] = 1
	if ($0 !~ /^[ \t]*#/) for (i = 1; i <= retired; i++) if (index($0, gone[i])) left[i] = 0
}
END {
	for (i = 1; i <= keys; i++) if (holds[i]) h = h (h == "" ? "" : ",") i
	for (i = 1; i <= retired; i++) if (left[i]) g = g (g == "" ? "" : ",") i
	print "holds=" h " gone=" g
}
LOOK
cat >"$work/edit" <<'EDIT'
set -u
umask 077
work=$1 name=$2 missing=$3
temp= old= built=
clean() { rm -f ${temp:+"$temp"} ${old:+"$old"} ${built:+"$built"}; }
trap clean EXIT
trap 'exit 130' HUP INT TERM
refuse() { printf 'code=%s text=%s\n' "$1" "$2"; exit 1; }
if [ -n "$missing" ]; then
	mkdir -m 700 "$missing" || refuse denied "its folder cannot be made"
	if command -v restorecon >/dev/null 2>&1; then restorecon "$missing" >/dev/null 2>&1; fi
	[ ! -h "$missing" ] && cd -P "$missing" && [ "$(ls -ldn . | awk '{ print $3; exit }')" = "$(id -u)" ] || refuse owner "its folder is not ours"
fi
find . -maxdepth 1 -type f -name '.rotatessh-tmp-*' -mmin +60 -exec rm -f {} + 2>/dev/null
for try in 1 2 3 4 5; do
	exists=
	if [ -h "$name" ]; then refuse symlink "it is a link"; fi
	if [ -e "$name" ]; then
		exists=1
		[ -f "$name" ] || refuse not-regular "it is no plain file"
		set -- $(ls -ldn "./$name" | awk '{ print $2, $3; exit }')
		[ "$1" = 1 ] || refuse hard-link "it has another name elsewhere"
		[ "$2" = "$(id -u)" ] || [ "$(id -u)" = 0 ] || refuse owner "it belongs to somebody else"
	fi
	old=$(mktemp .rotatessh-tmp-XXXXXXXX) && built=$(mktemp .rotatessh-tmp-XXXXXXXX) && temp=$(mktemp .rotatessh-tmp-XXXXXXXX) || refuse denied "its folder cannot be written"
	if [ -n "$exists" ]; then cat "./$name" >"$old" || refuse denied "it cannot be read"; fi
	tr -d '\000' <"$old" | cmp -s - "$old" || refuse not-text "it holds NUL bytes"
	plan=$(awk -f "$work/plan.awk" "$work/document" "$old") || refuse internal "awk does not do"
	case $plan in *broken*) refuse markers "the markers of its managed block are broken: remove them by hand" ;; esac
	block() {
		arn=$(awk '$1 == "secret" { print $2; exit }' "$work/document")
		printf '# BEGIN rotatessh %s (managed, edits are overwritten)\n' "$arn" &&
			awk '$1 == "key" { print $2, $3, $4 }' "$work/document" && printf '# END rotatessh %s\n' "$arn"
	}
	printf '%s\n' "$plan" | while read -r what from to; do
		case $what in
		keep) tail -n "+$from" "$old" | head -n "$((to - from + 1))" ;;
		block) block ;;
		append)
			if [ -s "$built" ] && [ "$(tail -c 1 "$built" | wc -l)" -eq 0 ]; then printf '\n'; fi
			block
			;;
		esac >>"$built" || exit 1
	done || refuse no-space "the new file could not be written"
	if [ -n "$exists" ] && cmp -s "$old" "$built"; then
		outcome=unchanged
		break
	fi
	if [ -n "$exists" ]; then
		cp --preserve=all "./$name" "$temp" 2>/dev/null || cp -p "./$name" "$temp" || refuse denied "owner and mode cannot be kept"
	fi
	cat "$built" >"$temp" && cmp -s "$built" "$temp" || refuse no-space "the new file could not be written"
	sync "$temp" 2>/dev/null || sync
	if [ -n "$exists" ]; then cmp -s "$old" "./$name"; else [ ! -e "$name" ] && [ ! -h "$name" ]; fi
	if [ $? -eq 0 ]; then
		mv -f "$temp" "$name" || refuse denied "it cannot be replaced"
		sync . 2>/dev/null || sync
		outcome=applied
		break
	fi
	clean # somebody else has changed it meanwhile
done
[ -n "${outcome:-}" ] || refuse busy "somebody else keeps changing it"
printf 'outcome=%s %s\n' "$outcome" "$(awk -f "$work/look.awk" "$work/document" "./$name")"
EDIT

if [ "$me" != 0 ] || [ "$owner" = 0 ]; then
	result=$(/bin/sh "$work/edit" "$work" "$name" "$missing" 2>/dev/null </dev/null)
elif command -v runuser >/dev/null 2>&1; then
	result=$(runuser -u "$user" -- /bin/sh "$work/edit" "$work" "$name" "$missing" 2>/dev/null </dev/null)
else
	result=$(su -s /bin/sh "$user" -c "/bin/sh $work/edit $work $name '$missing'" 2>/dev/null </dev/null)
fi
place="$(printf '%s' "$file" | base64 | tr -d '\n')"
case $result in
outcome=*) ;;
code=*)
	code=${result#code=}
	fail "${code%% *}" "$file: ${result#*text=}"
	;;
*) fail interrupted "$file: the edit was interrupted" ;;
esac

# How to recognise the machine at a log-in: the public halves of the host keys that sshd serves.
hostkeys=
for key in $(awk '$1 == "hostkey" { print $2 ".pub" }' "$work/sshd"); do
	line=$(awk 'NF >= 2 && $1 ~ /^[a-z][a-z0-9@.-]*$/ && $2 ~ /^[A-Za-z0-9+\/]+=*$/ { print $1 ":" $2; exit }' "$key" 2>/dev/null)
	if [ -n "$line" ]; then hostkeys=$hostkeys${hostkeys:+,}$line; fi
done
port=$(awk '$1 == "port" { print $2; exit }' "$work/sshd")
say "$result generation=$(field generation) version=$(field version) file=$place port=${port:-22} hostkeys=$hostkeys"
