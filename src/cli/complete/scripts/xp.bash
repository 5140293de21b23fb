# Completion of xp for bash. In ~/.bashrc:
#
#     source <(xp completions bash)

_xp() {
    local program directive candidate
    # The program as typed, which may be a path; plain xp if it is an alias.
    program=$(type -P -- "$1") || program=xp
    COMPREPLY=()
    {
        IFS= read -r directive
        while IFS= read -r candidate; do
            COMPREPLY+=("$candidate")
        done
    } < <("$program" __complete bash -- "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    # compopt requires bash 4.
    case $directive in
        open) compopt -o nospace 2>/dev/null ;;
        files) compopt -o default 2>/dev/null ;;
        folders) compopt -o dirnames 2>/dev/null ;;
    esac
    return 0
}

complete -F _xp xp
