# Completion of bulkhead and bulkheadd for bash. All that is known about the command line is in `bulkhead --complete`
# (tools/complete.h): this file hands it the words up to the cursor and takes what it prints.
# shellcheck shell=bash

# The command that is being completed, if it can be run; else the installed one.
_bulkhead_candidates() {
    local command=$1
    shift
    type -P -- "$command" >/dev/null || command=bulkhead
    "$command" --complete "$@" 2>/dev/null
}

_bulkhead() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
        :directories) compopt -o dirnames 2>/dev/null ;;
        :files) compopt -o default 2>/dev/null ;;
        *) COMPREPLY+=("${line%%$'\t'*}") ;;
        esac
    done < <(_bulkhead_candidates "$1" "${COMP_WORDS[@]:1:COMP_CWORD-1}" "$2")
}

# The daemon's own options are few: as its --help lists them.
_bulkheadd() {
    local line before=${COMP_WORDS[COMP_CWORD-1]} command=$1
    [ "$before" != = ] || before=${COMP_WORDS[COMP_CWORD-2]}
    COMPREPLY=()
    case $before in
    --config) compopt -o dirnames 2>/dev/null ;;
    --instance)
        while IFS= read -r line; do
            COMPREPLY+=("${line%%$'\t'*}")
        done < <(_bulkhead_candidates bulkhead --instance "$2")
        ;;
    *)
        type -P -- "$command" >/dev/null || return 0
        while read -r line; do
            [[ $line == --* && $line == "$2"* ]] && COMPREPLY+=("${line%% *}")
        done < <("$command" --help 2>/dev/null)
        ;;
    esac
}

complete -F _bulkhead bulkhead
complete -F _bulkheadd bulkheadd
