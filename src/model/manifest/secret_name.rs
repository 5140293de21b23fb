//! Names of variables that suggest a secret value.

/// Returns whether a variable with this name may hold a secret.
pub fn suggests_secret(name: &str) -> bool {
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
