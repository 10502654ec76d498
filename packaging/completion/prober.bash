# Completion of prober(1) for bash.
#
# Commands and options come from the program's own help, so that they are
# always those of the version that is installed. What only a running node
# knows (zones, names) is not asked for: pressing Tab does not go anywhere.

# The words of the list $1 that begin with $cur.
_prober_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

_prober_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}

_prober_commands() {
    "$1" help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'
}

# Only from the lines that describe an option or show the usage.
_prober_options() {
    "$1" help "$2" 2>/dev/null |
        sed -n -e 's/^ *-/-/p' -e '/^usage:\|^  *prober /p' |
        grep -o -e '--[a-z][a-z-]*' | sort -u
    echo --help
}

# What follows the option $2 of the command $1. Fails if nothing does.
_prober_value() {
    case $1:$2 in
    *:--ca | *:--cert | *:--key | *:--*-ca | *:--*-file | *:--config | \
        zone:--output-dir | zone:--account)
        _prober_files ;;
    keygen:--token) ;;
    probe:-o | probe:--output) _prober_words 'text json summary' ;;
    *:-o | *:--output) _prober_words 'text json' ;;
    probe:--protocol) _prober_words 'http1 grpc auto' ;;
    probe:--from) _prober_words 'self all-zones' ;;
    probe:--ip) _prober_words '4 6' ;;
    probe:--warm | probe:--insecure | health:--ready | zone:--kubernetes)
        return 1 ;;
    matrix:--phase)
        _prober_words 'dns connect tls ttfb transfer local total server' ;;
    matrix:--stat) _prober_words 'p50 p90 p99 max loss' ;;
    matrix:--protocol) _prober_words 'http1 grpc all' ;;
    matrix:--mode) _prober_words 'cold warm' ;;
    matrix:--level) _prober_words 'node zone region' ;;
    matrix:--watch) return 1 ;;
    *:--help | *:--version) return 1 ;;
    *:--*) ;; # a number, a duration or a name
    *) return 1 ;;
    esac
}

_prober() {
    local cur=${COMP_WORDS[COMP_CWORD]} program=${COMP_WORDS[0]}
    local command=${COMP_WORDS[1]-} before=${COMP_WORDS[COMP_CWORD - 1]}

    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        _prober_words "$(_prober_commands "$program")"
    elif [[ $command == help ]]; then
        ((COMP_CWORD != 2)) ||
            _prober_words "$(_prober_commands "$program")"
    elif _prober_value "$command" "$before"; then
        :
    elif [[ $cur == -* ]]; then
        _prober_words "$(_prober_options "$program" "$command")"
    elif [[ $command == keygen && ${COMP_WORDS[COMP_CWORD - 2]} == --token ]]; then
        _prober_words 'viewer runner prober admin'
    elif [[ $command == check-config ]]; then
        _prober_files
    fi
}

complete -F _prober prober
