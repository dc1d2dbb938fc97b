//! The exec of an upgrade: what is packed before ([`baggage`](super::baggage)), what is unpacked after, and the words by
//! which the two programs understand each other.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use nix::sys::stat::Mode;
use tracing::error;

use super::{
    Setup, StartError, accounts,
    baggage::{self, Baggage, BirthAway, FORM, Packer, left},
    birth,
    children::Children,
    control::Control,
    events::Root,
    notify,
    requests::Birth,
};
use crate::{
    ipc::frame,
    os::{process::StepFailed, reexec},
};

/// A new program that has not said so within this many seconds does not come up: the one before goes on.
const COMING_UP: u32 = 8;

/// How a program is started that is to be root in place of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Would it work? In a child.
    Rehearsal {
        /// The table.
        state: RawFd,
    },
    /// It is root from now on.
    Forth {
        /// The table.
        state: RawFd,
        /// The program before.
        kept: RawFd,
    },
    /// It is root again.
    Back {
        /// The table.
        state: RawFd,
        /// What was wrong with the other one.
        why: String,
    },
}

impl Way {
    /// From the arguments (the program's name first), with the rest of them.
    pub fn parse(arguments: &[String]) -> Option<(Self, Vec<String>)> {
        let first = arguments.get(1)?;
        let number = |text: &str| text.parse().ok().filter(|number| *number > 2);
        if let Some(state) = first.strip_prefix("--rehearse=") {
            return Some((Self::Rehearsal { state: number(state)? }, arguments[2..].to_vec()));
        }
        if let Some(state) = first.strip_prefix("--rollback=") {
            let (state, why) = (number(state)?, arguments.get(2)?.clone());
            return Some((Self::Back { state, why }, arguments[3..].to_vec()));
        }
        let (state, kept) = first.strip_prefix("--resume=")?.split_once(',')?;
        let way = Self::Forth { state: number(state)?, kept: number(kept)? };
        Some((way, arguments[2..].to_vec()))
    }

    /// The beginning of the command line that says it.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = vec!["jovis".to_owned()];
        match self {
            Self::Rehearsal { state } => words.push(format!("--rehearse={state}")),
            Self::Forth { state, kept } => words.push(format!("--resume={state},{kept}")),
            Self::Back { state, why } => words.extend([format!("--rollback={state}"), why.clone()]),
        }
        words
    }

    /// Is it only to be seen whether it would work?
    pub fn is_rehearsal(&self) -> bool {
        matches!(self, Self::Rehearsal { .. })
    }

    fn state(&self) -> RawFd {
        match self {
            Self::Rehearsal { state } | Self::Forth { state, .. } | Self::Back { state, .. } => {
                *state
            }
        }
    }

    /// First of all: whatever goes wrong from now on, the program before takes over.
    pub fn secure(&self, arguments: &[String]) {
        let Self::Forth { state, kept } = *self else { return };
        let why = "it crashed, or hung, while it took over".to_owned();
        let argv = [Self::Back { state, why }.words(), arguments.to_vec()].concat();
        reexec::arm(kept, &argv, std::env::vars().collect(), COMING_UP);
        // In the environment of the program before, if that much can be read.
        if let Ok(baggage) = baggage::read(state) {
            reexec::arm(kept, &argv, baggage.env, COMING_UP);
        }
    }

    /// It does not work: says so, or gives way to the program before.
    pub fn fail(&self, why: &str, arguments: &[String]) -> ExitCode {
        if let Self::Forth { state, kept } = *self {
            let back = Self::Back { state, why: why.to_owned() };
            let argv = [back.words(), arguments.to_vec()].concat();
            // The environment of the program before, if that much can be read.
            let env = baggage::read(state).map_or_else(|_| std::env::vars().collect(), |it| it.env);
            reexec::disarm();
            if let Ok(program) = reexec::copy(kept) {
                let failed = reexec::become_program(program.as_fd(), &argv, &env, &[]);
                eprintln!("jovis: {why}; and there is no way back: {failed}");
            }
        }
        error!(why, "takeover failed");
        eprintln!("{why}");
        ExitCode::from(71)
    }
}

/// Root, having taken over.
pub struct Resumed(Root);

impl Resumed {
    /// Runs jovis until it is told to stop.
    pub fn run(self) -> ExitCode {
        self.0.run()
    }
}

/// Takes over from the program before. Call it with one thread, logging set up. Without a root there is nothing more to
/// do.
pub fn resume(mut setup: Setup, way: &Way, arguments: &[String]) -> Result<Resumed, ExitCode> {
    let now = Instant::now();
    let taken = baggage::read(way.state()).and_then(|baggage| {
        let (build, all) = (baggage.build.clone(), baggage.all.clone());
        let (before, env) = (baggage.before.clone(), baggage.env.clone());
        setup.program = match way {
            Way::Back { .. } => before.clone(),
            _ => baggage.program.clone(),
        };
        let root = unpack(setup, baggage, now).map_err(|error| error.to_string())?;
        Ok((root, build, all, (before, env)))
    });
    let (mut root, build, all, (before, env)) = match taken {
        Ok(taken) => taken,
        Err(why) => return Err(way.fail(&why, arguments)),
    };
    match way {
        Way::Rehearsal { .. } => return Err(ExitCode::SUCCESS),
        Way::Forth { kept, state } => {
            let Ok(program) = reexec::copy(*kept) else {
                return Err(way.fail("there would be no way back", arguments));
            };
            reexec::disarm();
            reexec::close(&[&all[..], &[*kept, *state]].concat());
            root.arrived((program, before, env), build, now);
        }
        Way::Back { state, why } => {
            reexec::close(&[&all[..], &[*state]].concat());
            root.returned(why, now);
        }
    }
    reexec::unblock();
    Ok(Resumed(root))
}

fn unpack(mut setup: Setup, baggage: Baggage, now: Instant) -> Result<Root, StartError> {
    let failed =
        |what: &'static str| move |error: io::Error| StartError::Failed(format!("{what}: {error}"));
    // Everything as it was: what has changed in the file is taken on by a reload, once all are the new program.
    setup.config = baggage.config;
    let (we, hub, proxy) = accounts(&setup.config)?;
    let setting = birth::Setting {
        we,
        hub_gid: hub.gid,
        env: std::env::vars().collect(),
        umask: Mode::from_bits_truncate(baggage.umask),
        open_files: baggage.open_files,
        servers_oom: baggage.servers_oom,
    };
    let copy = |number| reexec::copy(number).map_err(failed("a descriptor"));
    let held = (copy(baggage.state)?, copy(baggage.lock)?.into());
    let sockets = baggage.sockets.unpack().map_err(failed("the listening sockets"))?;
    let children = Children::take_over(&baggage.run, baggage.children);
    let control =
        Control::at(baggage::listener(baggage.control).map_err(failed("the control socket"))?);
    let mut root = Root::new(setup, setting, (hub, proxy), held, sockets, children, control)?;
    for BirthAway { order, report, left_ms, asked } in baggage.births {
        let until = now + Duration::from_millis(left_ms);
        root.births.push(Birth { order, report: copy(report)?, until, asked });
    }
    root.checks.bring_back(baggage.checks, baggage.questions, now).map_err(failed("a check"))?;
    root.newcomers.bring_back(baggage.newcomers, now);
    let links = failed("a link");
    for (role, away) in [(&mut root.hub, baggage.hub), (&mut root.proxy, baggage.proxy)] {
        if let Some(away) = away {
            role.bring_back(away, now).map_err(links)?;
        }
    }
    for away in baggage.leaving {
        root.generations.bring_back(away, now).map_err(links)?;
    }
    root.announced = baggage.announced;
    Ok(root)
}

impl Root {
    /// Everything we have, in a sealed memory file; and the descriptors that go with it.
    pub(super) fn pack(
        &self,
        more: &[BorrowedFd<'_>],
        (program, before): (&Path, &Path),
    ) -> io::Result<(OwnedFd, Vec<RawFd>)> {
        let now = Instant::now();
        let mut packer = Packer::default();
        let births = self.births.iter().map(|birth| BirthAway {
            order: birth.order.clone(),
            report: packer.pack(&birth.report),
            left_ms: left(birth.until, now),
            asked: birth.asked.clone(),
        });
        let births = births.collect();
        let (checks, questions) = self.checks.away(&mut packer, now);
        let mut baggage = Baggage {
            form: FORM,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            program: program.to_owned(),
            before: before.to_owned(),
            config: self.setup.config.clone(),
            env: self.setting.env.clone().into_iter().collect(),
            umask: self.setting.umask.bits(),
            open_files: self.setting.open_files,
            servers_oom: self.setting.servers_oom,
            run: self.children.folder().to_owned(),
            lock: packer.pack(&self.lock),
            control: packer.pack(self.control.listener()),
            state: packer.pack(&self.state),
            sockets: packer.sockets(&self.sockets),
            children: self.children.away()?,
            births,
            checks,
            questions,
            newcomers: self.newcomers.away(),
            hub: self.hub.away(&mut packer, now),
            proxy: self.proxy.away(&mut packer, now),
            leaving: self.generations.away(&mut packer, now),
            announced: self.announced,
            all: Vec::new(),
        };
        more.iter().for_each(|fd| _ = packer.pack(fd));
        baggage.all.clone_from(&packer.0);
        let sealed = frame::seal(&baggage).map_err(io::Error::other)?;
        Ok((sealed, packer.0))
    }

    /// Becomes the new program. Returns only if that fails: why.
    pub(super) fn go(&mut self, program: BorrowedFd<'_>, path: &Path) -> String {
        let kept = match reexec::itself() {
            Ok(kept) => kept,
            Err(error) => return format!("there would be no way back: {error}"),
        };
        notify("RELOADING=1");
        let number = kept.as_raw_fd();
        let paths = (path, &*self.setup.program);
        let env: Vec<_> = self.setting.env.clone().into_iter().collect();
        let failed = self.exec(&[program, kept.as_fd()], paths, &env, |state| Way::Forth {
            state,
            kept: number,
        });
        notify("READY=1");
        failed.to_string()
    }

    /// Becomes the first of these programs, in this way, with everything we have. Returns only if that fails.
    pub(super) fn exec(
        &self,
        programs: &[BorrowedFd<'_>],
        paths: (&Path, &Path),
        env: &[(String, String)],
        way: impl FnOnce(RawFd) -> Way,
    ) -> StepFailed {
        let (baggage, mut keep) = match self.pack(programs, paths) {
            Ok(packed) => packed,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                return StepFailed { step: format!("pack ({error})"), errno };
            }
        };
        keep.push(baggage.as_raw_fd());
        let argv = [way(baggage.as_raw_fd()).words(), self.setup.arguments.clone()].concat();
        reexec::become_program(programs[0], &argv, env, &keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_read_as_it_was_said() {
        let rest = ["-f", "hub.ron"].map(str::to_owned).to_vec();
        for way in [
            Way::Rehearsal { state: 5 },
            Way::Forth { state: 7, kept: 8 },
            Way::Back { state: 9, why: "it hung".to_owned() },
        ] {
            let words = [way.words(), rest.clone()].concat();
            assert_eq!(Way::parse(&words), Some((way, rest.clone())));
        }
        for wrong in
            ["-f", "--resume=7", "--resume=7,x", "--resume=1,2", "--rehearse=", "--rollback=7"]
        {
            assert_eq!(Way::parse(&["jovis".to_owned(), wrong.to_owned()]), None, "{wrong}");
        }
        assert_eq!(Way::parse(&["jovis".to_owned()]), None);
    }
}
