# Completion of xp for fish: in ~/.config/fish/completions/xp.fish, or in config.fish:
#
#     xp completions fish | source

function __xp_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    # The program as typed, which may be a path; plain xp if it is an alias.
    set -l program (command -s -- $words[1]; or echo xp)
    set -l answer ($program __complete fish -- $words "$current" 2>/dev/null)
    switch "$answer[1]"
        case space open
            string join \n -- $answer[2..-1]
        case files
            __fish_complete_path (string replace -r -- '^--[^=]*=' '' "$current")
        case folders
            __fish_complete_directories (string replace -r -- '^--[^=]*=' '' "$current")
    end
end

complete -c xp -f -k -a '(__xp_complete)'
