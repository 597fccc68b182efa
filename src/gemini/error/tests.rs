//! What each answer of the service that is an error comes to, in both lines.

use super::*;
use crate::config::Config;
use proptest::prelude::*;

pub(in crate::gemini) fn key() -> Secret {
    let get = |name: &str| (name == "GEMINI_API_KEY").then(|| "AIzaS3cret".to_owned());
    Config::parse(get).unwrap().gemini.key.unwrap()
}

fn failed(status: u16, body: &str) -> AskError {
    AskError::from_response(status, body.as_bytes(), &key())
}

#[test]
fn an_error_without_a_number_is_known_by_its_name() {
    for (name, code) in [
        ("INVALID_ARGUMENT", 400),
        ("FAILED_PRECONDITION", 400),
        ("OUT_OF_RANGE", 400),
        ("UNAUTHENTICATED", 401),
        ("PERMISSION_DENIED", 403),
        ("NOT_FOUND", 404),
        ("ABORTED", 409),
        ("RESOURCE_EXHAUSTED", 429),
        ("CANCELLED", 499),
        ("UNIMPLEMENTED", 501),
        ("INTERNAL", 500),
        ("UNKNOWN", 500),
        ("UNAVAILABLE", 503),
        ("DEADLINE_EXCEEDED", 504),
        // No name of theirs: the response's own status counts.
        ("SOMETHING", 418),
    ] {
        let error = failed(418, &format!(r#"{{"error":{{"status":"{name}"}}}}"#));
        let cause = error.log_cause();
        assert!(cause.contains(&format!("HTTP {code} {name}")), "{cause}");
    }
}

fn limited(detail: &str) -> AskError {
    failed(
        429,
        &format!(
            r#"{{"error":{{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Quota",
            "details":[{{"@type":"type.googleapis.com/google.rpc.Help"}},{detail}]}}}}"#
        ),
    )
}

#[test]
fn each_status_has_its_meaning() {
    use AskError as E;
    for (status, is) in [
        (400, (|e| matches!(e, E::Rejected(_))) as fn(&AskError) -> bool),
        (401, |e| matches!(e, E::KeyRefused(_))),
        (403, |e| matches!(e, E::KeyRefused(_))),
        (404, |e| matches!(e, E::ModelNotFound(_))),
        (413, |e| matches!(e, E::Rejected(_))),
        (429, |e| matches!(e, E::RateLimited(None, _))),
        (408, AskError::is_retryable),
        (409, |e| matches!(e, E::Rejected(_))),
        (499, AskError::is_retryable),
        (500, AskError::is_retryable),
        (501, |e| matches!(e, E::Unusable(_))),
        (502, AskError::is_retryable),
        (519, |e| matches!(e, E::Unusable(_))),
        (520, AskError::is_retryable),
        (522, AskError::is_retryable),
        (524, AskError::is_retryable),
        (525, |e| matches!(e, E::Unusable(_))),
        (503, AskError::is_retryable),
        (504, AskError::is_retryable),
        (302, |e| matches!(e, E::Unusable(_))),
    ] {
        for body in ["", "<html>nope</html>", "[]", r#"{"error":"text"}"#, "{"] {
            let error = failed(status, body);
            assert!(is(&error), "{status}: {error:?}");
            assert!(error.log_cause().contains(&format!("HTTP {status}")));
        }
    }
    assert!(!failed(429, "").is_retryable());
}

#[test]
fn a_bad_key_is_told_from_a_bad_request() {
    let body = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.",
        "status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",
        "reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#;
    let error = failed(400, body);
    assert_eq!(error.to_string(), "The AI service refused this server's key.");
    assert_eq!(
        error.log_cause(),
        "key refused: HTTP 400 INVALID_ARGUMENT: API key not valid. Please pass a valid API key."
    );
    assert_eq!(failed(400, &format!("[{body}]")), error);
}

#[test]
fn waits_and_quotas() {
    let wait = |delay: &str| match limited(&format!(r#"{{"retryDelay":{delay}}}"#)) {
        AskError::RateLimited(wait, _) => wait,
        other => panic!("{other:?}"),
    };
    assert_eq!(wait(r#""34s""#), Some(Duration::from_secs(34)));
    assert_eq!(wait(r#""0.5s""#), Some(Duration::from_millis(500)));
    assert_eq!(wait(r#""1.000000001s""#), Some(Duration::new(1, 1)));
    for odd in [r#""0s""#, r#""-1s""#, r#""34""#, r#""NaNs""#, r#""infs""#, r#""1e9s""#, "34"] {
        assert_eq!(wait(odd), None, "{odd}");
    }
    let shown = |delay: &str| limited(&format!(r#"{{"retryDelay":"{delay}"}}"#)).to_string();
    assert_eq!(shown("33.2s"), "The AI's rate limit is reached. Try again in 34 seconds.");
    assert_eq!(shown("0.2s"), "The AI's rate limit is reached. Try again in 1 second.");
    let quota = |id: &str| {
        limited(&format!(r#"{{"violations":[{{}},{{"quotaId":"{id}"}}]}},{{"retryDelay":"34s"}}"#))
    };
    let day = quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier");
    assert_eq!(day.to_string(), "The AI's quota for today is used up. Try again tomorrow.");
    let minute = quota("GenerateRequestsPerMinutePerProject");
    assert!(matches!(minute, AskError::RateLimited(Some(_), _)));
}

#[test]
fn what_passes_by_itself_is_tried_again_by_name_or_number() {
    for name in ["CANCELLED", "ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"] {
        for status in [200, 400, 409, 500] {
            let error = failed(status, &format!(r#"{{"error":{{"status":"{name}"}}}}"#));
            assert!(error.is_retryable(), "{error:?}");
            let body = format!(r#"{{"error":{{"code":{status},"status":"{name}"}}}}"#);
            assert!(failed(status, &body).is_retryable());
        }
    }
    // google.rpc.Code as a number.
    for code in [1, 4, 14] {
        assert!(failed(500, &format!(r#"{{"code":{code},"message":"m"}}"#)).is_retryable());
    }
}

#[test]
fn what_waiting_does_not_help_is_said_to_be_so() {
    let place = r#"{"error":{"code":400,"status":"FAILED_PRECONDITION",
        "message":"User location is not supported for the API use."}}"#;
    let error = failed(400, place);
    let words = "The AI service is not available in this server's region.";
    assert_eq!(error.to_string(), words);
    assert!(error.log_cause().starts_with("not offered here: HTTP 400 FAILED_PRECONDITION: User"));
    let other = r#"{"error":{"code":400,"status":"FAILED_PRECONDITION","message":"m"}}"#;
    assert!(matches!(failed(400, other), AskError::Rejected(_)));

    let quota = |message: &str, detail: &str| {
        failed(
            429,
            &format!(
                r#"{{"error":{{"code":429,"status":"RESOURCE_EXHAUSTED","message":"{message}",
            "details":[{detail},{{"retryDelay":"34s"}}]}}}}"#
            ),
        )
    };
    let none = "The AI service gives this server's key no quota for its model.";
    for (message, detail) in [
        ("Quota exceeded for metric: x/y, limit: 0, model: z\\nPlease retry in 30s.", "{}"),
        ("limit: 20, model: z\\nlimit: 0", "{}"),
        ("m", r#"{"violations":[{"quotaValue":"20"},{"quotaValue":"0"}]}"#),
        ("m", r#"{"reason":"RATE_LIMIT_EXCEEDED","metadata":{"quota_limit_value":"0"}}"#),
    ] {
        let error = quota(message, detail);
        assert_eq!(error.to_string(), none, "{message} {detail}");
        assert!(error.log_cause().starts_with("no quota at all: HTTP 429"));
    }
    for (message, detail) in [
        ("Quota exceeded for metric: x/y, limit: 10, model: z", "{}"),
        ("limit: 05 limit: x limit:", "{}"),
        ("m", r#"{"violations":[{"quotaValue":"20"},{"quotaId":"x"}]}"#),
    ] {
        assert!(matches!(quota(message, detail), AskError::RateLimited(Some(_), _)), "{message}");
    }
}

#[test]
fn the_key_and_long_messages_stay_out_of_the_log() {
    let message = format!("Consumer 'api_key:AIza\u{200b}S3cret' {}", "x".repeat(500));
    let error = failed(403, &format!(r#"{{"error":{{"message":"{message}"}}}}"#));
    let log = error.log_cause();
    assert!(log.contains("api_key:(key)") && !log.contains("S3cret"), "{log}");
    assert!(text::chars(&log) <= MAX_CAUSE_CHARS + 40);
    assert!(!format!("{error:?}{error}").contains("S3cret"));
    let log = failed(403, r#"{"error":{"message":"\u001b[31ma\nb"}}"#).log_cause();
    assert_eq!(log, "key refused: HTTP 403: ab");
}

#[test]
fn reasons_are_names_or_unknown() {
    assert_eq!(Reason::new("PROHIBITED_CONTENT").to_string(), "prohibited content");
    for odd in ["", "lower", "WITH SPACE", "\u{1b}[31m", &"A".repeat(41)] {
        assert_eq!(Reason::new(odd).code(), "UNKNOWN");
    }
    let blocked = AskError::PromptBlocked(Reason::new("SAFETY"));
    assert_eq!(blocked.to_string(), "The AI service blocked the question (reason: safety).");
    assert_eq!(blocked.log_cause(), "prompt blocked: SAFETY");
}

proptest! {
    #[test]
    fn every_error_is_one_clean_line(
        status in any::<u16>(),
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100),
            r#"(\[)?\{"error":\{"code":[0-9]{1,6},"message":"(AIzaS3cret|[^"\\]){0,30}"\}\}(\])?"#
                .prop_map(String::into_bytes),
        ],
    ) {
        let error = AskError::from_response(status, &body, &key());
        for line in [error.to_string(), error.log_cause()] {
            prop_assert_eq!(&*text::clean(line.as_bytes()), &line);
            prop_assert!(!line.contains("AIzaS3cret"));
        }
    }
}

/// Cleaning takes away all but what the cut has left of a key at the end.
#[test]
fn no_half_of_a_key_stays_of_a_long_text() {
    let key = Secret::new("S3cret-key-of-some-length".to_owned());
    for at in 0..30 {
        let words = format!("{}S3cret-key-of-some-length and more", "\u{200b}".repeat(8192 - at));
        let cause = Cause::without_key(&words, &key).to_string();
        assert!(!cause.contains("S3c"), "{at}: {cause:?}");
    }
    let long = format!("why {}", "∰".repeat(100_000));
    assert!(Cause::without_key(&long, &key).to_string().starts_with("why ∰"));
}
