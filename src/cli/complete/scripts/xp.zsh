#compdef xp
# Completion of xp for zsh: a file called _xp in a folder of $fpath, or in ~/.zshrc, after compinit:
#
#     source <(xp completions zsh)

_xp() {
    local program=${(Q)words[1]} directive prefix
    local -a answer described
    # The program as typed, which may be a path; plain xp if it is an alias.
    [[ -n ${commands[$program]} || -x $program ]] || program=xp
    answer=("${(@f)$("$program" __complete zsh -- "${(@Q)words[1,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
    directive=${answer[1]%%$'\t'*}
    prefix=${answer[1]#*$'\t'}
    described=("${(@)answer[2,-1]}")
    if [[ -n $prefix ]]; then
        compset -P "${(b)prefix}" || return 1
    fi
    case $directive in
        space) _describe -V xp described ;;
        open) _describe -V xp described -S '' ;;
        files) _files ;;
        folders) _files -/ ;;
        *) return 1 ;;
    esac
}

# As a file in $fpath it runs on completion; when sourced, it only registers itself.
if [[ ${funcstack[1]} == _xp ]]; then
    _xp "$@"
else
    compdef _xp xp
fi
