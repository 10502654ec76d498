#compdef prober
# Completion of prober(1) for zsh, installed as _prober; as prober.bash beside
# it has it.
#
# Commands and options come from the program's own help, so that they are
# always those of the version that is installed. What only a running node
# knows (zones, names) is not asked for: pressing Tab does not go anywhere.

# Each with what it does, from the help.
_prober_commands() {
    local -a found
    found=(${(f)"$(_call_program commands $1 help 2>/dev/null |
        sed -n 's/^  \([a-z][a-z-]*\)  *\(.*\)/\1:\2/p')"})
    _describe -t commands 'command' found
}

# Only from the lines that describe an option or show the usage.
_prober_options() {
    local -a found
    found=(${(f)"$(_call_program options $1 help $2 2>/dev/null |
        sed -n -e 's/^ *-/-/p' -e '/^usage:\|^  *prober /p' |
        grep -o -e '--[a-z][a-z-]*' | sort -u)"} --help)
    compadd -- ${(u)found}
}

# What follows the option $2 of the command $1. Fails if nothing does.
_prober_value() {
    case $1:$2 in
    (*:--ca|*:--cert|*:--key|*:--*-ca|*:--*-file|*:--config) _files ;;
    (zone:--output-dir|zone:--account) _files -/ ;;
    (keygen:--token) ;;
    (probe:-o|probe:--output) compadd -- text json summary ;;
    (*:-o|*:--output) compadd -- text json ;;
    (probe:--protocol) compadd -- http1 grpc auto ;;
    (probe:--from) compadd -- self all-zones ;;
    (probe:--ip) compadd -- 4 6 ;;
    (probe:--warm|probe:--insecure|health:--ready|zone:--kubernetes)
        return 1 ;;
    (matrix:--phase)
        compadd -- dns connect tls ttfb transfer local total server ;;
    (matrix:--stat) compadd -- p50 p90 p99 max loss ;;
    (matrix:--protocol) compadd -- http1 grpc all ;;
    (matrix:--mode) compadd -- cold warm ;;
    (matrix:--level) compadd -- node zone region ;;
    (matrix:--watch) return 1 ;;
    (*:--help|*:--version) return 1 ;;
    (*:--*) ;; # a number, a duration or a name
    (*) return 1 ;;
    esac
    return 0
}

_prober() {
    local program=$words[1] command=$words[2]

    if (( CURRENT == 2 )); then
        _prober_commands $program
    elif [[ $command == help ]]; then
        (( CURRENT != 3 )) || _prober_commands $program
    elif _prober_value $command $words[CURRENT-1]; then
        :
    elif [[ $words[CURRENT] == -* ]]; then
        _prober_options $program $command
    elif [[ $command == keygen && $words[CURRENT-2] == --token ]]; then
        compadd -- viewer runner prober admin
    elif [[ $command == check-config ]]; then
        _files
    fi
}

# Loaded, or called by what has loaded it.
if [[ $funcstack[1] == _prober ]]; then
    _prober "$@"
else
    compdef _prober prober
fi
