//! What a pause of the whole process means to people: nobody is late because of it, and what they read
//! is true all the same.

use std::time::{Duration, Instant};

use super::user::Stage;
use super::{Chat, Timer};

impl Chat {
    /// The process has stood still for so long, which no `now` counts. Whoever was to do something in
    /// time has all of that time again; what people read remains true.
    pub fn resumed(&mut self, now: Instant, pause: Duration) {
        self.wall_clock.stood_still(pause);
        for id in self.lobbies.ids() {
            self.forget_history(now, id);
        }
        let login = now + self.settings.login_timeout;
        let everybody: Vec<_> = self.sessions.iter().map(|(id, _)| id).collect();
        for id in everybody {
            let Some(session) = self.sessions.get_mut(id) else { continue };
            match &mut session.stage {
                Stage::Named(user) => user.last_line = now,
                Stage::Login { .. } => {
                    self.timers.set(Timer::Session(id), &mut session.deadline, Some(login));
                }
            }
        }
    }
}
