//! Texts as words of a shell. Pure.

/// What stands for itself in every shell.
const PLAIN: &[u8] = b"_-./:=@%+,";

/// Returns a text as one word of a POSIX shell, quoted where it has to be.
pub fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || PLAIN.contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_they_have_to_be() {
        assert_eq!(shell_word("/a/b-c.d:1"), "/a/b-c.d:1");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("$X `y` \"z\" ~"), "'$X `y` \"z\" ~'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word("a\nb"), "'a\nb'");
    }
}
