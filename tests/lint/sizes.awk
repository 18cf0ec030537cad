# sizes.awk - size of files and functions. A function starts with "{" and ends with "}" in column one, as
# clang-format leaves them. Variables: file_max, function_note, function_max. Exit code 1: a limit is broken.
FNR == 1 { if (last) file_end(); last = FILENAME; start = 0; head = "" }
{ lines = FNR }
/^\{$/ { start = FNR; name = head }
/^\}$/ && start {
    n = FNR - start + 1
    if (n > function_max) { printf "%s:%d: function of %d lines, at most %d: %s\n", FILENAME, start, n, function_max, name; bad = 1 }
    else if (n > function_note) printf "note: %s:%d: function of %d lines: %s\n", FILENAME, start, n, name
    start = 0
}
/^[a-zA-Z_]/ { head = $0 }
function file_end() { if (lines > file_max) { printf "%s: %d lines, at most %d\n", last, lines, file_max; bad = 1 } }
END { file_end(); exit bad }
