//! Text cleaning: what comes out holds nothing forbidden, and cleaning it again changes nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mio_chat::text;

fuzz_target!(|data: &[u8]| {
    let once = text::clean(data);
    for c in once.chars() {
        assert!(!c.is_control(), "{c:?}");
        let forbidden = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{200c}' | '\u{feff}');
        assert!(!forbidden, "{c:?}");
    }
    assert_eq!(text::clean(once.as_bytes()), once);
});
