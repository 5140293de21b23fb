//! The tests on a cluster that does not belong to them, as with `XP_TEST_CONTEXT`.

use std::env;
use std::time::Duration;

use crate::case::Case;
use crate::context::Context;
use crate::repository::write_file;
use crate::world::Access;

pub const CASES: &[Case] = cases![
    tests_run_on_a_foreign_cluster,
    an_unknown_context_is_reported,
];

/// How long the other test run may take.
const TIMEOUT: Duration = Duration::from_secs(240);

/// Returns another run of the tests with a kubeconfig and these filters.
fn tests(t: &Context, kubeconfig: &str, context: &str, filters: &str) -> crate::xp::Xp {
    let path = t.folder().join("kubeconfig");
    write_file(&path, kubeconfig);
    let program = env::current_exe().expect("this program");
    let mut run = t
        .program(
            &program.display().to_string(),
            ["--test-threads=2", filters],
        )
        .env("KUBECONFIG", &path)
        .env("XP_TEST_CONTEXT", context)
        .timeout(TIMEOUT);
    for name in ["XP_TEST_ENGINE", "XP_TEST_ENGINES", "XP_TEST_STORE"] {
        if let Ok(value) = env::var(name) {
            run = run.env(name, value);
        }
    }
    run
}

fn tests_run_on_a_foreign_cluster(t: &Context) {
    let cluster = t.own_cluster();
    // Like a cluster whose only node is this machine.
    cluster.run_all_pods(t.engine());
    let kubeconfig = cluster.kubeconfig(&[("other", Access::Nowhere), ("foreign", Access::Full)]);
    let filters = "deploy::a_rollback_goes_back,deploy::conflicting_fields,deploy::a_rollout_timeout,\
                   deploy::a_rejection,fleet::a_platform_is_built";
    tests(t, &kubeconfig, "foreign", filters)
        .success()
        .stdout_contains("deploy::a_rollback_goes_back ")
        .stdout_contains("3 passed; 0 failed; 2 ignored");
    assert!(cluster.request_count() > 20);
    // Nothing is left behind.
    assert_eq!(cluster.namespaces(), [""; 0]);
}

fn an_unknown_context_is_reported(t: &Context) {
    let cluster = t.own_cluster();
    let kubeconfig = cluster.kubeconfig(&[("foreign", Access::Full)]);
    tests(t, &kubeconfig, "foriegn", "deploy::a_rollback_goes_back")
        .failure(101)
        .stdout_contains("XP_TEST_CONTEXT=foriegn: ");
}
