//! Reviews of one's own permissions, for `kubectl auth can-i`.

use serde_json::{Value, json};

use super::http::Incoming;
use super::status::Status;
use super::store::State;
use super::users::{Action, User};
use super::{access::Access, protobuf};

const PATH: &str = "/apis/authorization.k8s.io/v1/";

/// Returns the review that a request asks for; `None` for other paths.
pub fn answer(state: &State, request: &Incoming, user: &User) -> Option<Result<Value, Status>> {
    let kind = request.path.strip_prefix(PATH)?;
    let json = serde_json::from_slice(&request.body).ok();
    let review = json.or_else(|| protobuf::decode(&request.body));
    let Some(mut review) = review else {
        return Some(Err(Status::bad_request("the review is unreadable")));
    };
    review["status"] = match kind {
        "selfsubjectaccessreviews" => access(state, &review["spec"]["resourceAttributes"], user),
        "selfsubjectrulesreviews" => {
            let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
            json!({
                "resourceRules": rules(state, namespace, user), "nonResourceRules": [],
                "incomplete": false,
            })
        }
        _ => return Some(Err(Status::unknown_path())),
    };
    Some(Ok(review))
}

fn access(state: &State, attributes: &Value, user: &User) -> Value {
    let text = |name: &str| attributes[name].as_str().unwrap_or_default();
    let resource = match text("subresource") {
        "" => text("resource").to_owned(),
        part => format!("{}/{part}", text("resource")),
    };
    let action = Action {
        verb: text("verb"),
        group: text("group"),
        resource: &resource,
        namespace: text("namespace"),
        name: text("name"),
    };
    json!({ "allowed": user.may(state, &action) })
}

fn rules(state: &State, namespace: &str, user: &User) -> Vec<Value> {
    let everything =
        |verbs: &[&str]| json!({ "verbs": verbs, "apiGroups": ["*"], "resources": ["*"] });
    match user {
        User::Known(Access::Full | Access::Nowhere) => vec![everything(&["*"])],
        User::Known(_) => vec![everything(&["get", "list", "watch"])],
        User::Account { .. } => user.rules(state, namespace),
    }
}
