//! What the name of a variable tells of its value.

/// Tells whether a variable of that name may hold what nobody should read.
pub fn may_be_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let words = [
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "CREDENTIAL",
        "PRIVATE",
        "APIKEY",
    ];
    name.ends_with("_KEY") || words.iter().any(|word| name.contains(word))
}
