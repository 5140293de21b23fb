//! What a Job says.

use serde_json::Value;

use super::objects::BY;

/// The state of a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobState {
    pub name: String,
    /// Its unique id.
    pub uid: String,
    /// How it ended.
    pub ended: Option<JobEnd>,
    /// The runs that use it.
    pub runs: Vec<String>,
    /// Whether it is being deleted.
    pub is_deleted: bool,
}

/// How a Job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    Complete,
    /// With the reason, such as `DeadlineExceeded`.
    Failed(String),
}

impl JobState {
    /// Reads the state of a Job.
    pub fn of(job: &Value) -> Self {
        let metadata = &job["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let conditions = job["status"]["conditions"].as_array();
        let met = |kind: &str| {
            let mut conditions = conditions.into_iter().flatten();
            conditions.find(|it| it["type"] == kind && it["status"] == "True")
        };
        let ended = match (met("Complete"), met("Failed")) {
            (Some(_), _) => Some(JobEnd::Complete),
            (None, Some(failed)) => Some(JobEnd::Failed(text(&failed["reason"]))),
            (None, None) => None,
        };
        let annotations = metadata["annotations"].as_object();
        let runs = annotations.into_iter().flatten();
        let runs = runs.filter_map(|(name, _)| name.strip_prefix(BY).map(str::to_owned));
        Self {
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            ended,
            runs: runs.collect(),
            is_deleted: metadata["deletionTimestamp"].is_string(),
        }
    }

    /// Returns whether another run uses it, too.
    pub fn is_shared(&self, run: &str) -> bool {
        self.runs.iter().any(|other| other != run)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_names_its_runs() {
        let job = json!({"metadata": {"name": "xp-a-1", "uid": "u", "annotations": {
            "x-platform.run/by-abc": "", "x-platform.run/unit": "a"}}, "status": {"conditions": [
            {"type": "FailureTarget", "status": "True"},
            {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}});
        let job = JobState::of(&job);
        assert_eq!(job.runs, ["abc"]);
        assert_eq!(
            job.ended,
            Some(JobEnd::Failed("DeadlineExceeded".to_owned()))
        );
        assert!(!job.is_shared("abc") && job.is_shared("other"));
        assert_eq!(JobState::of(&json!({})).ended, None);
    }
}
