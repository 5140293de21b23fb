//! Pages of lists.

use reqwest::header::LINK;

use super::RegistryError;
use super::host::RegistryHost;
use super::response::RegistryResponse;

/// Returns the URL of the next page, from the header `Link`. It may be relative, or absolute with an address that a proxy
/// does not know, so only its query is used: pages of a list at `path` are at the same address.
pub(super) fn next_page(
    host: &RegistryHost,
    reply: &RegistryResponse,
    path: &str,
) -> Result<Option<String>, RegistryError> {
    let mut links = Vec::new();
    for value in reply.headers.get_all(LINK) {
        let unreadable = |_| host.unexpected("a Link header is not text");
        links.extend(next_links(value.to_str().map_err(unreadable)?));
    }
    let Some(link) = links.first() else {
        return Ok(None);
    };
    let next = reply.url.join(link).ok();
    let next = next.filter(|next| next.path() == path);
    let query = next.as_ref().and_then(|next| next.query());
    match query {
        Some(query) => Ok(Some(format!("{}{path}?{query}", host.base))),
        None => Err(host.unexpected("the next page of a list is at another path")),
    }
}

/// Returns the targets of a header with the relation `next`.
fn next_links(header: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut rest = header;
    // Targets may contain commas.
    while let Some((_, after)) = rest.split_once('<') {
        let Some((target, after)) = after.split_once('>') else {
            break;
        };
        let (parameters, next) = match after.split_once('<') {
            Some((parameters, _)) => (parameters, &after[parameters.len()..]),
            None => (after, ""),
        };
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let parameter = parameter.split_once('=');
            parameter.is_some_and(|(name, value)| {
                let mut relations = value.trim().trim_matches('"').split_whitespace();
                name.trim().eq_ignore_ascii_case("rel")
                    && relations.any(|it| it.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            links.push(target.trim().to_owned());
        }
        rest = next;
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found() {
        let next = |header: &str| next_links(header).concat();
        assert_eq!(
            next(r#"</v2/a/tags/list?last=x&n=1>; rel="next""#),
            "/v2/a/tags/list?last=x&n=1"
        );
        assert_eq!(
            next("<https://h/v2/a,b?n=1>; rel=next"),
            "https://h/v2/a,b?n=1"
        );
        assert_eq!(
            next(r#"</first>; rel="first", </second>; title="x"; rel="prev next""#),
            "/second"
        );
        for other in ["", "</x>", "</x>; rel=\"prev\"", "</x", "x"] {
            assert_eq!(next(other), "", "{other}");
        }
    }
}
