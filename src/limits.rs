//! Every fixed bound of the server in one place, with the relations between them checked at compile
//! time. Owns numbers only; what an operator may change is in `config`, which takes its defaults
//! from here.

use std::time::Duration;

// ---- What a client sends -------------------------------------------------------------------

/// Bytes of one line, its line ending not counted. A longer one is discarded up to its newline.
pub const MAX_LINE_BYTES: usize = 8 * 1024;
/// Unicode scalar values of one message, after trimming.
pub const MAX_MESSAGE_CHARS: usize = 1000;
/// Unicode scalar values of a lobby's AI prompt.
pub const MAX_AI_PROMPT_CHARS: usize = 2000;
/// Characters of a user name.
pub const USERNAME_CHARS: std::ops::RangeInclusive<usize> = 2..=20;
/// Characters of a lobby name.
pub const LOBBY_NAME_CHARS: std::ops::RangeInclusive<usize> = 2..=32;
/// Unicode scalar values of a lobby's description.
pub const MAX_DESCRIPTION_CHARS: usize = 200;
/// Bytes of a password: bcrypt reads no more than 72, and we never cut one silently.
pub const MAX_PASSWORD_BYTES: usize = 72;
/// Consecutive blanks inside a text; more become one.
pub const MAX_BLANKS: usize = 3;
/// Blanks at the front of a text.
pub const MAX_LEADING_BLANKS: usize = 16;
/// Combining marks (and joiners) that may follow one base character.
pub const MAX_MARKS_PER_BASE: usize = 4;
/// Columns of a row of text for a client that has not said how wide it is: as many as fit 80
/// without touching the last column, where terminals behave differently.
pub const DEFAULT_COLUMNS: u16 = 79;
/// Columns that a client may say it has.
pub const COLUMNS: std::ops::RangeInclusive<u16> = 20..=500;
/// Bytes of one telnet subnegotiation that are skipped before it is considered broken.
pub const MAX_TELNET_SUBNEGOTIATION: u16 = 1024;
/// How long the connection of a name's holder has to acknowledge what it is sent, when somebody at
/// the holder's own address asks for the name.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Segments sent for this purpose when there is nothing else to send.
pub const PROBE_PROBES: u32 = 5;
/// When the outcome is certain, and the shortest time between two such probes of one connection.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(6);
/// How long a connection is believed to work that was probed and has answered.
pub const PROBE_TRUST: Duration = Duration::from_secs(60);
/// Wrong answers to the name prompt before the connection is closed.
pub const MAX_NAME_ERRORS: u8 = 5;

// ---- What the chat keeps -------------------------------------------------------------------

/// Messages of one lobby's history.
pub const HISTORY_MESSAGES: usize = 100;
/// Bytes of one lobby's history: names, pictures and texts.
pub const HISTORY_BYTES: usize = 64 * 1024;
/// Lobbies in total, `general` included.
pub const MAX_LOBBIES: usize = 1000;
/// Existing lobbies that were created from one address.
pub const MAX_LOBBIES_PER_CREATOR: u32 = 5;
/// A lobby with more members than this gathers arrivals and departures that come in crowds.
pub const CROWD_MEMBERS: usize = 50;
/// Arrivals (or departures) within `CROWD_WINDOW` that a large lobby is told about one by one.
pub const CROWD_SINGLE_LINES: u32 = 5;
/// The span over which a large lobby's arrivals and departures are gathered.
pub const CROWD_WINDOW: Duration = Duration::from_secs(1);
/// Members that are named to somebody who enters a lobby, as far as they fit `OTHERS_COLUMNS`.
pub const OTHERS_NAMED: usize = 10;
/// Columns of the line that says who is there.
pub const OTHERS_COLUMNS: usize = 79;
/// After this long without a message, the next one has the time of day above it.
pub const PAUSE: Duration = Duration::from_secs(5 * 60);
/// Names that a name which was not found is compared with, to suggest the nearest.
pub const NEAREST_CANDIDATES: usize = 1000;
/// The same for users, of the lobby and of all: fewer, since each of them lies somewhere else in memory.
pub const NEAREST_USERS: usize = 300;
/// Characters of the user's own words that an error repeats.
pub const REPEATED_CHARS: usize = 32;
/// Wrong lobby passwords from one address within `PASSWORD_WINDOW` that lock it out.
pub const PASSWORD_FAILURES: usize = 3;
/// The span in which wrong passwords are counted, and how long a lock-out lasts.
pub const PASSWORD_WINDOW: Duration = Duration::from_secs(60);
/// Messages that one lobby takes within the span of the rate limit; of more each address has an equal
/// share.
pub const LOBBY_MESSAGES: usize = 300;
/// Log-ins from an address within `LOGINS_WINDOW`, for each connection that it may have.
pub const LOGINS_PER_CONNECTION: usize = 3;
/// See [`LOGINS_PER_CONNECTION`].
pub const LOGINS_WINDOW: Duration = Duration::from_secs(60);
/// Commands that only show something, and unknown commands, answered within the span of the rate
/// limit; they do not count against what may be said.
pub const LOOKS_PER_WINDOW: usize = 20;
/// Refused lines are accounted for when no more have followed for this long.
pub const REFUSED_QUIET: Duration = Duration::from_secs(10);
/// Addresses (or departed users) remembered by one table that forgets by age.
pub const MAX_REMEMBERED: usize = 16_384;
/// How often the tables that forget by age are swept, while there is anything in them.
pub const FORGET_INTERVAL: Duration = Duration::from_secs(10);
/// log2 of the rounds for a lobby's password, if the operator sets nothing else.
pub const DEFAULT_BCRYPT_COST: u32 = 10;
/// Password jobs that wait; of any more, whoever holds most gives place.
pub const MAX_PASSWORD_JOBS: usize = 256;
/// An address from which somebody has been here for this long is a regular's.
pub const LONG_HERE: Duration = Duration::from_secs(600);
/// Whoever waits for a password job for this long is told.
pub const PASSWORD_WAIT_TOLD: Duration = Duration::from_secs(3);

// ---- What is shared by address ---------------------------------------------------------------

/// Networks (/64) that an IPv6 site (/48) counts like, in every limit for an address.
pub const SITE_NETS: u32 = 10;
/// After so long, what an address has had of something scarce counts half.
pub const SHARE_HALF_LIFE: Duration = Duration::from_secs(60);
/// Addresses whose share of one thing is remembered.
pub const MAX_SHARES: usize = 4096;

// ---- What one turn of the loop may do ------------------------------------------------------

/// Events taken from one `poll`.
pub const EVENTS_PER_TURN: usize = 1024;
/// Bytes read from one client in one turn: enough for a screenful of pasted lines, and little
/// enough that ten clients that send nothing but rubbish delay the others by 3 ms and not by 15.
pub const READ_BYTES_PER_TURN: usize = READ_BUFFER_BYTES;
/// How many bytes of plain text a byte of TLS counts for in that: a record of 30 bytes that changes the
/// keys takes as long as a kilobyte of text.
pub const TLS_COST: usize = 4;
/// How long the TLS of one client is worked on in one turn, however little of it there is.
pub const TLS_TIME: Duration = Duration::from_millis(1);
/// Bytes that are kept of an unfinished TLS message: a record as long as one may be (RFC 8446, section
/// 5.2, and for TLS 1.2 RFC 5246, section 6.2.3), its header, and what was read with it. The longer
/// handshake messages that TLS allows are nothing that a client of ours has to send.
pub const MAX_TLS_INCOMING: usize = 16 * 1024 + 2048 + 5 + 4 * 1024;
/// The same of a service's handshake: its certificates may fill the longest message that rustls reads.
pub const MAX_TLS_HANDSHAKE: usize = 64 * 1024 + MAX_TLS_INCOMING;
/// Certificates of a service that are looked at between its own and a root: 16 signatures at the most.
/// More than two or three are hardly ever needed; what comes last is often the root itself.
pub const MAX_INTERMEDIATES: usize = 3;
/// Lines handled for one client in one turn.
pub const LINES_PER_TURN: usize = 64;
/// Connections accepted from one listener in one turn.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Connections without a name that give place to newcomers in one turn: each is searched for.
pub const PLACES_PER_TURN: usize = 4;
/// Steps of TLS handshakes taken in one turn. One with a P-256 certificate costs about 0.3 ms.
pub const HANDSHAKES_PER_TURN: usize = 8;
/// Bytes of the read buffer that all connections share.
pub const READ_BUFFER_BYTES: usize = 8 * 1024;
/// Pieces of output handed to one vectored write.
pub const SLICES_PER_WRITE: usize = 64;
/// How long a turn goes on serving clients before it sends what there is; the others come first in
/// the next turn.
pub const SERVE_TIME: Duration = Duration::from_millis(4);
/// How long a turn goes on sending; what is left is sent first in the next turn.
pub const FLUSH_TIME: Duration = Duration::from_millis(8);
/// Bytes said but not yet offered to everybody they are for, above which nobody is served or let
/// in.
pub const ROUND_BYTES: usize = 64 * 1024;
/// A turn that begins this much later than it was meant to begin tells of a pause of the whole process.
/// Far more than a turn may last, so that no client can bring one about.
pub const OVERSLEPT: Duration = Duration::from_secs(1);
/// The shortest and the longest slice of password work: how long a message may have to wait while
/// passwords are checked. Between the two, a slice is a share of the turn it follows, so that
/// passwords neither get in the way nor are starved by a flood.
pub const PASSWORD_SLICE: std::ops::RangeInclusive<Duration> =
    Duration::from_micros(150)..=Duration::from_millis(1);
/// That share: one part for passwords to this many for the rest of the turn.
pub const PASSWORD_SHARE: u32 = 4;
/// Memory is given back when at least this many connections have come and three quarters of them
/// have gone.
pub const CROWD: usize = 64;
/// How long after that it is done: when everything that remembers those clients for a moment has
/// forgotten them.
pub const GIVE_BACK_DELAY: Duration = Duration::from_secs(2);
/// What the program itself takes of the memory ceiling: its code, its stack, its libraries.
pub const PROGRAM_BYTES: usize = 4 * 1024 * 1024;
/// The lowest memory ceiling, in MiB.
pub const MIN_MEMORY_MB: usize = 8;
/// How often the lobbies that remember most forget half of it while memory is short.
pub const FORGET_HALF_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes held for a connection that make it one of the first to be closed when memory is full: more
/// than any unfinished line or TLS record takes, so it must be a slow reader's.
pub const MUCH_HELD: usize = 32 * 1024;
/// Bytes held for a connection that are worth closing it for a newcomer: more than an idle user
/// costs.
pub const SOME_HELD: usize = 1024;
/// After this long, having stood still for longer makes no difference; also how long memory may be
/// short before connections that something is held for are closed.
pub const LONG_STOOD: Duration = Duration::from_secs(10);
/// Refusals of one form logged in one second for those who had no line in the last minute, and as many
/// for all others; any more are counted.
pub const REFUSALS_LOGGED_PER_SEC: u32 = 30;
/// How often it is logged how many were not.
pub const REFUSALS_COUNTED_INTERVAL: Duration = Duration::from_secs(10);
/// Refusals remembered for a minute, of each form, so that nobody has more than its share of the log.
pub const MAX_REFUSALS_REMEMBERED: usize = 1024;
/// How often somebody may come to a limit within a minute before that looks like more than haste.
pub const REFUSALS_BORNE: u32 = 20;

// ---- What a service answers ----------------------------------------------------------------

/// Bytes of the head of one HTTP response, including its final empty line.
pub const MAX_HTTP_HEAD_BYTES: usize = 16 * 1024;
/// Header fields of one HTTP response, and fields of its trailers.
pub const MAX_HTTP_HEADERS: usize = 64;
/// Responses with a 1xx status that may come before the final one.
pub const MAX_INTERIM_RESPONSES: u8 = 8;
/// Bytes of the line with a chunk's size: 16 digits, and extensions, which are ignored.
pub const MAX_CHUNK_LINE_BYTES: usize = 1024;
/// Bytes of the trailers after the last chunk, which are ignored, including their final empty line.
pub const MAX_TRAILER_BYTES: usize = 4 * 1024;
/// Bytes of the data of one server-sent event. Gemini sends a few words and a kilobyte around them; a
/// gateway that does not stream sends all [`MAX_OUTPUT_TOKENS`] at once, some 16 KiB of text, up to
/// three times as much where it writes every letter as `\u….`
pub const MAX_SSE_EVENT_BYTES: usize = 64 * 1024;
/// Bytes kept of anything in an event stream that does not belong there.
pub const MAX_SSE_STRAY_BYTES: usize = 64 * 1024;
/// Values kept of the JSON of one event, or of an error: ten for each piece of an answer that comes
/// as one list.
pub const MAX_JSON_VALUES: usize = 4096;
/// Bytes of one response: a piece for every one of [`MAX_OUTPUT_TOKENS`], with a kilobyte around it.
pub const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;
/// Events of one response, as many of them without text as with it.
pub const MAX_RESPONSE_EVENTS: u32 = 2 * MAX_OUTPUT_TOKENS;

// ---- The assistant -------------------------------------------------------------------------

/// Messages of a lobby that are sent along with a question.
pub const RECENT_MESSAGES: usize = 5;
/// Questions and their answers that a lobby's conversation holds.
pub const CONVERSATION_TURNS: usize = 20;
/// Bytes of one conversation: names, questions and answers.
pub const CONVERSATION_BYTES: usize = 32 * 1024;
/// A conversation is forgotten when nothing has been added to it for this long.
pub const CONVERSATION_IDLE: Duration = Duration::from_secs(30 * 60);
/// Bytes of text taken from one answer.
pub const ANSWER_BYTES: usize = 8 * 1024;
/// Lines of one answer, after wrapping.
pub const ANSWER_LINES: usize = 100;
/// Columns of a line of an answer: with the four of the gutter, `DEFAULT_COLUMNS`.
pub const ANSWER_COLUMNS: usize = 75;
/// Tokens that the service may spend on one answer. `ANSWER_BYTES` of English are about 2000 of
/// them; the rest is for the model's thinking, which counts as well.
pub const MAX_OUTPUT_TOKENS: u32 = 4096;
/// Questions under way at once, each in a different lobby.
pub const ASKS_AT_ONCE: usize = 4;
/// Questions that may wait in one lobby in addition to the one under way.
pub const ASKS_WAITING: usize = 3;
/// Questions that may wait in all lobbies together.
pub const MAX_ASKS_WAITING: usize = 256;
/// How many users' worth of questions an address has for all of its users together.
pub const ADDRESS_QUESTIONS: usize = 10;
/// The span over which the questions of a user, or an address, are counted.
pub const QUESTIONS_WINDOW: Duration = Duration::from_secs(3600);
/// The span over which the questions of the whole server are counted.
pub const DAY: Duration = Duration::from_secs(24 * 3600);
/// The highest limit for them: each takes 16 bytes of memory for a day.
pub const MAX_QUESTIONS_PER_DAY: usize = 100_000;
/// How long the first piece of an answer may take.
pub const FIRST_PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a whole answer may take.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a call is tried again after the service has failed.
pub const RETRIES: u32 = 2;
/// The pause before the first retry; the next one is twice as long.
pub const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long a response may go on after the end of its answer. Then its connection is given up.
pub const FINISH_LINGER: Duration = Duration::from_secs(2);
/// Bytes kept of what the service says about an error.
pub const MAX_ERROR_BODY_BYTES: usize = 64 * 1024;
/// Bytes that one query to a name server may bring back: two messages of the maximum length.
pub const QUERY_BYTES: usize = 128 * 1024;
/// Bytes that one turn takes from services, proxies and name servers, for all questions together; bytes
/// of TLS count as [`TLS_COST`] of them.
pub const OUTBOUND_BYTES: usize = 64 * 1024;
/// How long a turn works on them, and then tells lobbies what came. What it has begun then is finished:
/// at most an event, and a line.
pub const OUTBOUND_TIME: Duration = Duration::from_millis(2);
/// How long an address has before the next one is tried beside it (RFC 8305, section 8).
pub const CONNECT_ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How long connecting to the service may take, and its TLS handshake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of the service that are tried.
pub const MAX_CONNECT_ADDRESSES: usize = 8;
/// How long a connection to the service is kept for the next question.
pub const IDLE_LINK_TIMEOUT: Duration = Duration::from_secs(60);
/// Unicode scalar values of the default personality.
pub const MAX_PERSONA_CHARS: usize = 1500;
/// Unicode scalar values of the service's own words in the log.
pub const MAX_CAUSE_CHARS: usize = 200;
/// The longest wait that is believed when the service asks for one.
pub const MAX_STATED_WAIT: Duration = Duration::from_secs(24 * 3600);

// ---- Sockets -------------------------------------------------------------------------------

/// Connections that may wait in the kernel for an accept.
pub const LISTEN_BACKLOG: i32 = 1024;
/// The kernel's send buffer for one client (Linux doubles it for its own bookkeeping): small enough
/// that a slow reader shows up in our queue instead of hiding behind megabytes in the kernel.
pub const SOCKET_SEND_BUFFER: usize = 64 * 1024;
/// Linux: output that the kernel takes from one client's queue before it has sent it. Data in
/// flight may fill the send buffer, but a client that reads nothing makes the kernel hold little
/// more than this.
pub const SOCKET_NOT_SENT: u32 = 16 * 1024;
/// The kernel's receive buffer for one client (also doubled). Without a bound, a client that sends
/// faster than it is read makes the kernel hold some 128 KiB, and megabytes once it has been read
/// from for a while.
pub const SOCKET_RECEIVE_BUFFER: usize = 16 * 1024;
/// Keep-alive: first probe after this much silence, then probes this far apart, then this many.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// See [`KEEPALIVE_IDLE`].
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// See [`KEEPALIVE_IDLE`].
pub const KEEPALIVE_PROBES: u32 = 4;
/// How long sent data may stay unacknowledged (RFC 5482), in cases where keep-alive does not probe.
pub const USER_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of a proxy's header. Without optional additions the longest has 232 (a pair of Unix socket
/// names); the TLS certificates that some proxies append are not meant for us.
pub const MAX_PROXY_HEADER_BYTES: usize = 4 * 1024;
/// How long that header may take: it is sent with the first packet.
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client on the TLS port may stay silent before we assume that it is waiting to be
/// greeted. TLS clients speak first, and at once: even if their first segment is lost twice and
/// sent again, it arrives in less time when a round trip takes 300 ms (RFC 6298).
pub const TLS_SILENCE: Duration = Duration::from_secs(5);
/// How long a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last words of a closing connection may take to leave.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
/// How long we go on reading what the peer still sends after we have ended our side of the stream.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How many bytes we read during that time.
pub const DRAIN_BYTES: usize = 64 * 1024;
/// Turned-away connections that may be closing politely at once; more are closed at once.
pub const MAX_REFUSALS_CLOSING: usize = 64;
/// File descriptors kept free of clients: listeners, log, poll, spare, the assistant's sockets, and
/// the refused.
pub const RESERVED_DESCRIPTORS: usize = 64 + MAX_REFUSALS_CLOSING;
/// How long accepting rests when the system has no descriptor or memory for one more.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a service manager that has no room for a message is left alone.
pub const NOTIFY_RETRY: Duration = Duration::from_millis(100);
/// How long a shutdown waits for everybody to receive what they are owed.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

// ---- The log -------------------------------------------------------------------------------

/// Bytes of lines that wait for each destination of the log when it takes nothing; more are lost.
pub const LOG_BACKLOG_BYTES: usize = 256 * 1024;
/// Bytes by which the log grows in a minute.
pub const LOG_BYTES_A_MINUTE: usize = 1_000_000;
/// Bytes in a minute above which refusals are only counted: the rest is for errors and the like.
pub const LOG_REFUSALS_BYTES: usize = 850_000;
/// The same for arrivals and departures, so that a flood of them hides no refusal.
pub const LOG_CLIENTS_BYTES: usize = 650_000;
/// How often what is only counted is told.
pub const LOG_COUNT_INTERVAL: Duration = Duration::from_secs(10);
/// How long what waits may take to leave when the server ends, and before it says that it is ready.
pub const LOG_SETTLE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a start waits for the second process to open the log's file; what is written meanwhile
/// waits like any line.
pub const LOG_OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the second process waits before it tries again what failed, and how soon after its start
/// one that has ended is started again.
pub const LOG_RETRY: Duration = Duration::from_secs(1);
/// Bytes that the second process writes at once.
pub const LOG_WRITER_BYTES: usize = 64 * 1024;
/// Bytes of what the second process says about an error.
pub const LOG_REPORT_BYTES: usize = 4 * 1024;

// ---- Name service --------------------------------------------------------------------------

/// Name servers that are asked; any others are ignored (MAXNS in resolv.conf(5)).
pub const DNS_SERVERS: usize = 3;
/// Domains that a name is completed with: as many as Kubernetes allows in a search list.
pub const DNS_SEARCH: usize = 32;
/// The highest `ndots`: dots that a name may need before it is tried as it is (resolv.conf(5):
/// RES_MAXNDOTS).
pub const DNS_NDOTS: usize = 15;
/// How many times a question goes round all servers before it is given up.
pub const DNS_ROUNDS: usize = 2;
/// How long one server has for an answer over UDP before the next one is asked.
pub const DNS_UDP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one server has for an answer over TCP, connecting included.
pub const DNS_TCP_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a look-up may take in total, however many domains its name is completed with.
pub const DNS_DEADLINE: Duration = Duration::from_secs(8);
/// How long the addresses of one family wait for those of the other (RFC 8305, section 3).
pub const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// Names whose answers are remembered.
pub const DNS_CACHED_NAMES: usize = 64;
/// How long addresses are remembered, whatever their TTL.
pub const DNS_TTL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);
/// How long we remember that a name has no address.
pub const DNS_NEGATIVE_TTL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(60);
/// Records of one section of a reply that are looked at.
pub const DNS_RECORDS: usize = 128;
/// Aliases (CNAME records) followed from a name to its addresses.
pub const DNS_ALIASES: usize = 16;
/// Addresses of one family that are used from one reply.
pub const DNS_ADDRESSES: usize = 16;
/// How often, at most, the resolver's files are checked for changes.
pub const RESOLVER_FILES_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes read of one of them: more than name servers or [`HOSTS_ENTRIES`] take, and read in 3 ms,
/// whatever they are.
pub const RESOLVER_FILE_BYTES: usize = 256 * 1024;
/// Pairs of name and address kept from the hosts file.
pub const HOSTS_ENTRIES: usize = 4096;

// ---- Unsent output -------------------------------------------------------------------------

/// The lowest bound that an operator may set for a client's unsent output.
pub const MIN_SEND_QUEUE_BYTES: usize = 32 * 1024;
/// The default bound of a client's unsent output.
pub const DEFAULT_SEND_QUEUE_BYTES: usize = 256 * 1024;

/// Unsent bytes above which a client's own input waits, so that nobody is dropped because of
/// replies to commands that were sent faster than the replies could leave.
#[must_use]
pub const fn input_pause_bytes(send_queue_bytes: usize) -> usize {
    send_queue_bytes / 4
}

/// Bytes that one reply (a listing, a history) may take; it is cut to fit.
#[must_use]
pub const fn max_reply_bytes(send_queue_bytes: usize) -> usize {
    send_queue_bytes / 2
}

/// Bytes of the answer to one line, without those of rows and of a history.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// More than any single message takes on the screen: its text in four-byte characters, two names, a
/// picture, colours, and what rows begin and end with on the narrowest screen.
pub const MAX_RENDERED_MESSAGE: usize = MAX_MESSAGE_CHARS * 4 + 3 * 1024;

/// More than any entry of a listing takes, including a lobby's description in four-byte characters.
pub const MAX_LISTED_BYTES: usize = MAX_DESCRIPTION_CHARS * 4 + 1024;

// A client whose input is accepted has room for the largest reply and a message besides.
const _: () = {
    let least = MIN_SEND_QUEUE_BYTES;
    assert!(input_pause_bytes(least) + max_reply_bytes(least) + MAX_RENDERED_MESSAGE < least);
};
// A silent client is told so before the handshake times out.
const _: () = assert!(TLS_SILENCE.as_millis() < HANDSHAKE_TIMEOUT.as_millis());
const _: () = assert!(PROBE_TIMEOUT.as_millis() < PROBE_INTERVAL.as_millis());
const _: () = assert!(PROBE_INTERVAL.as_millis() < PROBE_TRUST.as_millis());
// With the default bound a whole history can be replayed, colours included.
const _: () = assert!(
    HISTORY_BYTES + HISTORY_MESSAGES * 128 <= max_reply_bytes(DEFAULT_SEND_QUEUE_BYTES) / 3 * 2
);
// A legal AI prompt, in four-byte characters and after its command, fits into a line.
const _: () = assert!(MAX_AI_PROMPT_CHARS * 4 + "/setai ".len() < MAX_LINE_BYTES);
const _: () = assert!(MAX_RENDERED_MESSAGE < HISTORY_BYTES);
// Each kind of log line leaves room for the more important ones.
const _: () = assert!(LOG_CLIENTS_BYTES < LOG_REFUSALS_BYTES);
const _: () = assert!(LOG_REFUSALS_BYTES < LOG_BYTES_A_MINUTE);
// A conversation holds at least one turn of any size.
const _: () = assert!(MAX_MESSAGE_CHARS * 4 + 2 * ANSWER_BYTES < CONVERSATION_BYTES);

// With every server dead all rounds are over before the deadline.
const _: () = {
    let tries = DNS_SERVERS * DNS_ROUNDS;
    assert!(tries as u128 * DNS_UDP_TIMEOUT.as_millis() < DNS_DEADLINE.as_millis());
};

#[cfg(test)]
mod tests {
    use super::*;

    /// What users are promised, as plain numbers: whoever changes one changes the contract.
    #[test]
    fn the_contract() {
        let secs = Duration::from_secs;
        assert_eq!((MAX_LINE_BYTES, MAX_MESSAGE_CHARS, MAX_AI_PROMPT_CHARS), (8192, 1000, 2000));
        assert_eq!((USERNAME_CHARS, LOBBY_NAME_CHARS), (2..=20, 2..=32));
        assert_eq!((MAX_DESCRIPTION_CHARS, MAX_PASSWORD_BYTES, MAX_MARKS_PER_BASE), (200, 72, 4));
        assert_eq!((HISTORY_MESSAGES, HISTORY_BYTES), (100, 65_536));
        assert_eq!((MAX_LOBBIES, MAX_LOBBIES_PER_CREATOR, MAX_NAME_ERRORS), (1000, 5, 5));
        assert_eq!((CROWD_MEMBERS, CROWD_SINGLE_LINES, CROWD_WINDOW), (50, 5, secs(1)));
        assert_eq!((PASSWORD_FAILURES, PASSWORD_WINDOW), (3, secs(60)));
        assert_eq!((LOOKS_PER_WINDOW, REFUSED_QUIET), (20, secs(10)));
        assert_eq!((RECENT_MESSAGES, CONVERSATION_TURNS, CONVERSATION_IDLE), (5, 20, secs(1800)));
        assert_eq!((ASKS_AT_ONCE, ASKS_WAITING, QUESTIONS_WINDOW), (4, 3, secs(3600)));
        assert_eq!((FIRST_PIECE_TIMEOUT, ANSWER_TIMEOUT), (secs(30), secs(60)));
        assert_eq!((ANSWER_BYTES, ANSWER_LINES), (8192, 100));
        assert_eq!((HANDSHAKE_TIMEOUT, SHUTDOWN_TIMEOUT), (secs(10), secs(5)));
        assert_eq!((LOG_BACKLOG_BYTES, LOG_BYTES_A_MINUTE), (262_144, 1_000_000));
        assert_eq!(LOG_SETTLE_TIMEOUT, secs(1));
        assert_eq!((DEFAULT_SEND_QUEUE_BYTES, MIN_SEND_QUEUE_BYTES), (262_144, 32_768));
        assert_eq!((input_pause_bytes(1000), max_reply_bytes(1000)), (250, 500));
        // Dead peers are found within about two minutes.
        let silence = KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_PROBES;
        assert_eq!((silence, USER_TIMEOUT), (secs(120), secs(120)));
    }
}
