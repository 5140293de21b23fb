//! The test cases in the JUnit XML files of `scripts.reports`.
//!
//! The files were written by scripts and are not trusted: a document type, and with it entities, is an error, and so
//! is a file with an excessive number of elements.

use roxmltree::{Document, Node, ParsingOptions};

/// The maximum number of elements, attributes and texts of a file.
const MAX_NODES: u32 = 500_000;

/// A test case.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct TestCase {
    pub class: String,
    pub name: String,
    pub seconds: f64,
    /// Failures and errors, in order.
    pub problems: Vec<TestProblem>,
    /// Why it was skipped.
    pub skipped: Option<String>,
    pub output: Option<String>,
    pub error_output: Option<String>,
}

/// A failure or an error.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct TestProblem {
    /// Whether it is an `error`: something unexpected, unlike a failed assertion.
    pub is_error: bool,
    pub kind: String,
    pub message: String,
    pub text: String,
}

/// Reads the test cases of a file.
///
/// # Errors
///
/// The file is not JUnit XML.
pub fn read(bytes: &[u8]) -> Result<Vec<TestCase>, String> {
    let text = decoded(bytes);
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    let document =
        Document::parse_with_options(&text, options).map_err(|error| error.to_string())?;
    let root = document.root_element();
    if !matches!(root.tag_name().name(), "testsuites" | "testsuite") {
        return Err(format!(
            "the root element is `{}`, not `testsuites` or `testsuite`",
            root.tag_name().name()
        ));
    }
    let elements = root.descendants().filter(Node::is_element);
    let cases = elements.filter_map(|node| match node.tag_name().name() {
        "testcase" => Some(case(node)),
        // Some programs report here that no test could run.
        "failure" | "error" if is_suite(node.parent()) => Some(TestCase {
            class: name_of_suite(node),
            name: node.tag_name().name().to_owned(),
            problems: vec![problem(node)],
            ..TestCase::default()
        }),
        _ => None,
    });
    Ok(cases.collect())
}

/// Decodes a file according to its byte order mark or XML declaration; UTF-8 by default.
fn decoded(bytes: &[u8]) -> String {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let declaration = start.split_once("?>").map_or("", |(before, _)| before);
    let declared = declaration.split_once("encoding").and_then(|(_, after)| {
        let after = after.trim_start_matches([' ', '=']);
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        after[1..].split(quote).next()
    });
    let declared = declared.and_then(|name| encoding_rs::Encoding::for_label(name.as_bytes()));
    // A declaration that can be read as ASCII is not in UTF-16, whatever it says.
    let declared = declared.filter(|it| it.is_ascii_compatible());
    let encoding = declared.unwrap_or(encoding_rs::UTF_8);
    // A byte order mark takes precedence.
    encoding.decode(bytes).0.into_owned()
}

fn case(node: Node<'_, '_>) -> TestCase {
    let attribute = |name| node.attribute(name).unwrap_or_default().to_owned();
    let mut case = TestCase {
        class: match node.attribute("classname") {
            Some(class) => class.to_owned(),
            None => name_of_suite(node),
        },
        name: attribute("name"),
        seconds: seconds(node.attribute("time").unwrap_or_default()),
        ..TestCase::default()
    };
    for child in node.children().filter(Node::is_element) {
        match child.tag_name().name() {
            "failure" | "error" => case.problems.push(problem(child)),
            "skipped" => {
                let message = child.attribute("message").map(str::to_owned);
                case.skipped = Some(message.unwrap_or_else(|| text(child)));
            }
            "system-out" => append(&mut case.output, text(child)),
            "system-err" => append(&mut case.error_output, text(child)),
            _ => {}
        }
    }
    case
}

fn problem(node: Node<'_, '_>) -> TestProblem {
    let attribute = |name| node.attribute(name).unwrap_or_default().to_owned();
    TestProblem {
        is_error: node.tag_name().name() == "error",
        kind: attribute("type"),
        message: attribute("message"),
        text: text(node),
    }
}

fn is_suite(node: Option<Node<'_, '_>>) -> bool {
    node.is_some_and(|node| node.tag_name().name() == "testsuite")
}

fn name_of_suite(node: Node<'_, '_>) -> String {
    let suite = node.parent().filter(|parent| is_suite(Some(*parent)));
    let name = suite.and_then(|suite| suite.attribute("name"));
    name.unwrap_or_default().to_owned()
}

/// Returns the text of an element, including CDATA sections between other texts.
fn text(node: Node<'_, '_>) -> String {
    let texts = node.children().filter(Node::is_text);
    texts.filter_map(|text| text.text()).collect()
}

fn append(to: &mut Option<String>, text: String) {
    to.get_or_insert_default().push_str(&text);
}

/// Parses a time; some programs write thousands as `1,234.5`.
fn seconds(text: &str) -> f64 {
    let seconds: f64 = text.replace(',', "").trim().parse().unwrap_or(0.0);
    if seconds.is_finite() {
        seconds.clamp(0.0, 1e9)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_keep_what_dashboards_show() {
        let xml = br#"<?xml version="1.0" encoding="UTF-8"?>
            <testsuites><testsuite name="outer"><testsuite name="inner">
            <testcase name="plain" time="1,000.25"/>
            <testcase classname="a.B" name="broken" time="x">
              <failure type="Assertion" message="1 &lt; 2">at <![CDATA[<line> 3]]> end</failure>
              <error message="and more"/>
              <system-out>out</system-out><system-out>put</system-out><system-err>err</system-err>
            </testcase>
            <testcase classname="a.B" name="later"><skipped message="not yet"/></testcase>
            <testcase classname="a.B" name="bare"><skipped/></testcase>
            </testsuite><error message="no tests">why</error></testsuite></testsuites>"#;
        let cases = read(xml).unwrap();
        let names: Vec<_> = cases
            .iter()
            .map(|it| (it.class.as_str(), it.name.as_str()))
            .collect();
        assert_eq!(
            names,
            [
                ("inner", "plain"),
                ("a.B", "broken"),
                ("a.B", "later"),
                ("a.B", "bare"),
                ("outer", "error")
            ]
        );
        assert_eq!(cases[0].seconds, 1000.25);
        assert_eq!(cases[1].seconds, 0.0);
        let problems = &cases[1].problems;
        assert_eq!(problems[0].text, "at <line> 3 end");
        assert_eq!(problems[0].message, "1 < 2");
        assert!(problems[1].is_error && !problems[0].is_error);
        assert_eq!(cases[1].output.as_deref(), Some("output"));
        assert_eq!(cases[1].error_output.as_deref(), Some("err"));
        assert_eq!(cases[2].skipped.as_deref(), Some("not yet"));
        assert_eq!(cases[3].skipped.as_deref(), Some(""));
        assert_eq!(cases[4].problems[0].text, "why");
    }

    #[test]
    fn hostile_files_are_errors() {
        let entity = br#"<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>
            <testsuite><testcase name="&e;"/></testsuite>"#;
        assert!(read(entity).unwrap_err().contains("DTD"));
        let many = format!(
            "<testsuite>{}</testsuite>",
            "<a/>".repeat(MAX_NODES as usize)
        );
        assert!(read(many.as_bytes()).is_err());
        let deep = format!(
            "{}{}",
            "<testsuite>".repeat(200_000),
            "</testsuite>".repeat(200_000)
        );
        assert!(read(deep.as_bytes()).is_ok_and(|cases| cases.is_empty()));
        for other in ["", "no xml", "<testsuite>", "<html/>", "\0\0"] {
            assert!(read(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn other_encodings_are_decoded() {
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><testsuite><testcase name='\xe9'/></testsuite>";
        assert_eq!(read(latin).unwrap()[0].name, "\u{e9}");
        let text = "<?xml version=\"1.0\" encoding=\"utf-16\"?><testsuite><testcase name=\"a\"/></testsuite>";
        let mut utf16 = vec![0xff, 0xfe];
        utf16.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(read(&utf16).unwrap()[0].name, "a");
        // Saved as UTF-8 after all.
        assert_eq!(read(text.as_bytes()).unwrap()[0].name, "a");
        let marked = "\u{feff}<testsuite><testcase name='\u{e9}'/></testsuite>";
        assert_eq!(read(marked.as_bytes()).unwrap()[0].name, "\u{e9}");
    }
}
