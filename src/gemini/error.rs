//! Why a question got no answer: one line for the asker, one for the log.
//!
//! The service's own words reach the log only as a [`Cause`]: cleaned, shortened, and without the
//! key, which the service does quote in some of its messages. The asker never sees them.

use std::fmt;
use std::time::Duration;

use super::fault::Fault;
use super::json::Json;

use crate::config::Secret;
use crate::count::count;
use crate::limits::{MAX_CAUSE_CHARS, MAX_STATED_WAIT};
use crate::rate::wait_secs;
use crate::text;

/// What happened, for the log: one line of at most [`MAX_CAUSE_CHARS`] characters, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(String);

/// Characters of the service's words that are looked at.
const LONGEST_WORDS: usize = 8 * 1024;

impl Cause {
    /// From words of this server, or of a library.
    #[must_use]
    pub fn new(words: &str) -> Self {
        Self(text::clean(words.as_bytes()).trim().chars().take(MAX_CAUSE_CHARS).collect())
    }

    /// From words of the service, which may contain the key.
    #[must_use]
    pub fn without_key(words: &str, key: &Secret) -> Self {
        // Cleaned first, so that nothing is left to hide the key; shortened last, so that no half
        // of it stays. Of a very long text only the beginning is looked at.
        let key = key.expose();
        let most = LONGEST_WORDS.max(4 * key.len());
        let looked_at: String = words.chars().take(most).collect();
        let mut cleaned = text::clean(looked_at.as_bytes()).into_owned();
        if !key.is_empty() {
            cleaned = cleaned.replace(key, "(key)");
        }
        if looked_at.len() < words.len() {
            // The key may have been cut in two.
            let keep = text::chars(&cleaned).saturating_sub(key.len());
            cleaned = cleaned.chars().take(keep).collect();
        }
        Self::new(&cleaned)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A reason as the service names it, such as `PROHIBITED_CONTENT`; shown as `prohibited content`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// Anything that is not such a name becomes `UNKNOWN`.
    #[must_use]
    pub fn new(code: &str) -> Self {
        const MAX_CODE: usize = 40;
        let usual = |b: u8| b.is_ascii_uppercase() || b == b'_';
        let is_code = (1..=MAX_CODE).contains(&code.len()) && code.bytes().all(usual);
        Self(if is_code { code } else { "UNKNOWN" }.to_owned())
    }

    /// The name itself.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_ascii_lowercase().replace('_', " "))
    }
}

/// Why a question got no answer, or only part of one. `Display` is the line that the asker sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskError {
    /// Too many requests, and how long to wait if the service said so.
    RateLimited(Option<Duration>, Cause),
    /// Too many requests for today.
    Quota(Cause),
    /// The key is not valid, or not valid for this.
    KeyRefused(Cause),
    /// The question, or what was sent along with it, was blocked.
    PromptBlocked(Reason),
    /// The answer was stopped.
    AnswerBlocked(Reason),
    /// The first or the last piece took too long; which one, and where it got stuck.
    TimedOut(Cause),
    /// The service cannot be reached, or the connection was lost.
    NoNetwork(Cause),
    /// The proxy does not allow the request.
    ProxyRefused(Cause),
    /// What came back is not an answer.
    Unusable(Cause),
    /// What came back is compressed, although that was not asked for.
    Compressed(Cause),
    /// The service is not offered in the country of the server's address.
    NotServed(Cause),
    /// The key may not use this model at all: its quota is 0.
    NoQuota(Cause),
    /// There is no such model, or no longer.
    ModelNotFound(Cause),
    /// The service failed or is overloaded; it may work again in a moment.
    Overloaded(Cause),
    /// The service considers the request invalid.
    Rejected(Cause),
}

impl AskError {
    /// From an HTTP status that is not 200, and the body that came with it.
    #[must_use]
    pub fn from_response(status: u16, body: &[u8], key: &Secret) -> Self {
        match Json::read(body).ok().as_ref() {
            Some(value) => Self::classify(status, &Fault::find(value).unwrap_or_default(), key),
            None => Self::classify(status, &Fault::of_text(body), key),
        }
    }

    /// From an error in an answer with this status. The error's own code counts, since an error in
    /// mid-stream comes with status 200.
    pub(super) fn classify(status: u16, fault: &Fault<'_>, key: &Secret) -> Self {
        let Fault { name, message, details, .. } = fault;
        let code = fault.code.or_else(|| code_of(name)).unwrap_or(status);
        let mut words = format!("HTTP {code} {name}").trim_end().to_owned();
        if !message.is_empty() {
            words = words + ": " + message;
        }
        let cause = Cause::without_key(&words, key);
        let reason =
            |detail: &Json<'_>| detail.get("reason").and_then(Json::as_str) == Some(BAD_KEY);
        match code {
            _ if PASSING.contains(name) => Self::Overloaded(cause),
            400 if details.iter().any(reason) => Self::KeyRefused(cause),
            400 | 403 if is_about_the_place(message) => Self::NotServed(cause),
            401 | 403 => Self::KeyRefused(cause),
            404 => Self::ModelNotFound(cause),
            429 if has_limit_of_0(message, details) => Self::NoQuota(cause),
            429 if details.iter().any(is_daily_quota) => Self::Quota(cause),
            429 => Self::RateLimited(details.iter().find_map(retry_delay), cause),
            408 | 499 | 500 | 502..=504 | 520..=524 => Self::Overloaded(cause),
            400..=499 => Self::Rejected(cause),
            _ => Self::Unusable(cause),
        }
    }

    /// With the wait from a `Retry-After`, in seconds, if the error itself states none.
    #[must_use]
    pub(super) fn or_wait(self, secs: Option<u64>) -> Self {
        match (self, secs.map(Duration::from_secs)) {
            (Self::RateLimited(None, cause), Some(wait)) if is_believable(&wait) => {
                Self::RateLimited(Some(wait), cause)
            }
            (error, _) => error,
        }
    }

    /// With what was asked for, if the service has no such thing.
    #[must_use]
    pub(super) fn of_path(self, path: &str, key: &Secret) -> Self {
        match self {
            Self::ModelNotFound(cause) => {
                Self::ModelNotFound(Cause::without_key(&format!("{path}: {cause}"), key))
            }
            error => error,
        }
    }

    /// Whether the same request may succeed in a moment.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Overloaded(_))
    }

    /// Whether it failed on the service's side, so that the question does not count. A question
    /// that was blocked, or whose answer was, does count: the asker's words are the reason.
    #[must_use]
    pub fn is_services(&self) -> bool {
        !matches!(self, Self::PromptBlocked(_) | Self::AnswerBlocked(_))
    }

    /// What goes into the log.
    #[must_use]
    pub fn log_cause(&self) -> String {
        match self {
            Self::RateLimited(Some(wait), cause) => {
                format!("rate limited for {} s: {cause}", wait_secs(*wait))
            }
            Self::RateLimited(None, cause) => format!("rate limited: {cause}"),
            Self::Quota(cause) => format!("daily quota used up: {cause}"),
            Self::KeyRefused(cause) => format!("key refused: {cause}"),
            Self::PromptBlocked(reason) => format!("prompt blocked: {}", reason.code()),
            Self::AnswerBlocked(reason) => format!("answer blocked: {}", reason.code()),
            Self::TimedOut(cause) => format!("timed out: {cause}"),
            Self::NoNetwork(cause) => format!("no connection: {cause}"),
            Self::ProxyRefused(cause) => format!("not let through: {cause}"),
            Self::Unusable(cause) => format!("unusable answer: {cause}"),
            Self::Compressed(cause) => format!("compressed answer: {cause}"),
            Self::NotServed(cause) => format!("not offered here: {cause}"),
            Self::NoQuota(cause) => format!("no quota at all: {cause}"),
            Self::ModelNotFound(cause) => format!("model not found: {cause}"),
            Self::Overloaded(cause) => format!("service failing: {cause}"),
            Self::Rejected(cause) => format!("request rejected: {cause}"),
        }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RateLimited(Some(wait), _) => {
                let wait = count(wait_secs(*wait), "second");
                write!(f, "The AI's rate limit is reached. Try again in {wait}.")
            }
            Self::RateLimited(None, _) => {
                f.write_str("The AI's rate limit is reached. Try again in a minute.")
            }
            Self::Quota(_) => {
                f.write_str("The AI's quota for today is used up. Try again tomorrow.")
            }
            Self::KeyRefused(_) => f.write_str("The AI service refused this server's key."),
            Self::PromptBlocked(reason) => {
                write!(f, "The AI service blocked the question (reason: {reason}).")
            }
            Self::AnswerBlocked(reason) => {
                write!(f, "The AI service blocked the answer (reason: {reason}).")
            }
            Self::TimedOut(_) => f.write_str("The AI took too long to answer. Try again later."),
            Self::NoNetwork(_) => f.write_str("The AI cannot be reached. Try again later."),
            Self::ProxyRefused(_) => {
                f.write_str("The AI cannot be reached: this server's proxy does not allow it.")
            }
            Self::Unusable(_) => f.write_str("The AI gave no usable answer. Try again."),
            Self::Compressed(_) => {
                f.write_str("The AI's answer came in a form that this server cannot read.")
            }
            Self::NotServed(_) => {
                f.write_str("The AI service is not available in this server's region.")
            }
            Self::NoQuota(_) => {
                f.write_str("The AI service gives this server's key no quota for its model.")
            }
            Self::ModelNotFound(_) => {
                f.write_str("The AI model of this server is not available any more.")
            }
            Self::Overloaded(_) => f.write_str("The AI service is overloaded. Try again later."),
            Self::Rejected(_) => f.write_str("The AI service rejected the question."),
        }
    }
}

/// The reason in a `google.rpc.ErrorInfo` when the key is not valid or has expired; the code is 400.
const BAD_KEY: &str = "API_KEY_INVALID";

/// Names of conditions that pass by themselves (`google.rpc.Code`), whatever number comes with
/// them.
const PASSING: [&str; 4] = ["CANCELLED", "ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"];

/// The HTTP status of a `google.rpc.Code`, or of a name that gateways use, for an error without a
/// number.
fn code_of(name: &str) -> Option<u16> {
    Some(match name {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => 400,
        "UNAUTHENTICATED" | "authentication_error" | "invalid_api_key" => 401,
        "PERMISSION_DENIED" => 403,
        "NOT_FOUND" => 404,
        "ABORTED" | "ALREADY_EXISTS" => 409,
        "RESOURCE_EXHAUSTED"
        | "rate_limit_error"
        | "rate_limit_exceeded"
        | "insufficient_quota" => 429,
        "CANCELLED" => 499,
        "INTERNAL" | "UNKNOWN" | "DATA_LOSS" | "server_error" => 500,
        "UNIMPLEMENTED" => 501,
        "UNAVAILABLE" | "overloaded_error" => 503,
        "DEADLINE_EXCEEDED" => 504,
        _ => return None,
    })
}

/// Whether this is a `google.rpc.QuotaFailure` with a quota that is counted by the day.
fn is_daily_quota(detail: &Json<'_>) -> bool {
    violations(detail)
        .iter()
        .filter_map(|violation| violation.get("quotaId")?.as_str())
        .any(|id| id.contains("PerDay"))
}

/// The quotas in a `google.rpc.QuotaFailure`.
fn violations<'a>(detail: &'a Json<'a>) -> &'a [Json<'a>] {
    detail.get("violations").map_or(&[], Json::list)
}

/// The wait in a `google.rpc.RetryInfo`: seconds with an `s`, as in `34s` or `0.5s`.
fn retry_delay(detail: &Json<'_>) -> Option<Duration> {
    let secs = detail.get("retryDelay")?.as_str()?.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(secs).ok().filter(is_believable)
}

fn is_believable(wait: &Duration) -> bool {
    (Duration::from_nanos(1)..=MAX_STATED_WAIT).contains(wait)
}

/// `User location is not supported for the API use.`, and what is said there without a paid plan.
fn is_about_the_place(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["location is not supported", "not available in your country"]
        .iter()
        .any(|words| message.contains(words))
}

/// Whether one of the exhausted quotas is 0, so that waiting does not help. This is in the message,
/// or in a `google.rpc.QuotaFailure` or `google.rpc.ErrorInfo`.
fn has_limit_of_0(message: &str, details: &[Json<'_>]) -> bool {
    const LIMIT: &str = "limit: ";
    let zero = |text: &str| {
        let number = text.trim_start().split(|c: char| !c.is_ascii_digit()).next();
        number.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b == b'0'))
    };
    let is_zero = |value: &Json<'_>| value.as_u64() == Some(0) || value.as_str().is_some_and(zero);
    let failed = |detail: &Json<'_>| {
        violations(detail).iter().any(|one| one.get("quotaValue").is_some_and(is_zero))
            || detail
                .get("metadata")
                .and_then(|data| data.get("quota_limit_value"))
                .is_some_and(is_zero)
    };
    message.split(LIMIT).skip(1).any(zero) || details.iter().any(failed)
}

#[cfg(test)]
pub(super) mod tests;
