//! One password check by PAM, over the crate's raw bindings only (its high-level half is unsound). Modules run foreign
//! code in this process: nobody but a helper calls this.

#![expect(unsafe_code, reason = "PAM is a C interface with callbacks")]

use std::{ffi::CStr, ptr};

use libc::{c_int, c_void};
use pam::ffi;
use zeroize::Zeroizing;

/// Why PAM said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which step: `start`, `authenticate`, `account`.
    pub step: &'static str,
    /// PAM's code.
    pub code: i32,
    /// PAM's word for it, and what the modules said.
    pub text: String,
}

/// What the conversation has to answer with, and what it hears.
struct Talk {
    password: Zeroizing<Vec<u8>>,
    /// For the second question; none: the password is the answer to all.
    code: Option<Zeroizing<Vec<u8>>>,
    asked: usize,
    heard: Vec<String>,
}

impl Talk {
    /// The answer to the next question; none: there is none. `hidden`: is it not shown while it is typed?
    fn answer(&mut self, hidden: bool) -> Option<&[u8]> {
        self.asked += 1;
        match (&self.code, self.asked) {
            (None, _) | (Some(_), 1) if hidden => Some(&self.password),
            // Some show a code while it is typed: it is worth nothing afterwards.
            (Some(code), 2) => Some(code),
            _ => None,
        }
    }
}

/// A transaction, ended when dropped.
struct Handle {
    pam: *mut ffi::pam_handle_t,
    last: c_int,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: started once and ended once, here.
        unsafe { ffi::pam_end(self.pam, self.last) };
    }
}

/// Checks password and account. `code`: the answer to the second question, where there is a code. The name is `PAM_USER` as the modules left it. None of the texts may hold a NUL byte.
pub fn check(
    service: &CStr,
    user: &CStr,
    rhost: Option<&CStr>,
    password: &CStr,
    code: Option<&CStr>,
) -> Result<String, Refused> {
    let copied = |text: &CStr| {
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.count_bytes() + 1));
        bytes.extend_from_slice(text.to_bytes_with_nul());
        bytes
    };
    let (password, code) = (copied(password), code.map(copied));
    // On the heap and reached by its address only, since PAM keeps that until the end.
    let talk = Box::into_raw(Box::new(Talk { password, code, asked: 0, heard: Vec::new() }));
    let outcome = transact(service, user, rhost, talk);
    // SAFETY: made above; the transaction has ended, so nobody else has the address any more.
    let talk = unsafe { Box::from_raw(talk) };
    outcome.map_err(|(step, code, word)| {
        let mut text = word;
        talk.heard.iter().for_each(|said| text.extend(["; ", said.as_str()]));
        Refused { step, code, text }
    })
}

fn transact(
    service: &CStr,
    user: &CStr,
    rhost: Option<&CStr>,
    talk: *mut Talk,
) -> Result<String, (&'static str, i32, String)> {
    let conversation = ffi::pam_conv { conv: Some(converse), appdata_ptr: talk.cast() };
    let mut pam = ptr::null_mut();
    // SAFETY: all texts outlive the call (PAM copies them, and the conversation's struct), `talk` outlives the handle.
    let code = unsafe {
        ffi::pam_start(service.as_ptr(), user.as_ptr(), &raw const conversation, &mut pam)
    };
    if code != ffi::PAM_SUCCESS || pam.is_null() {
        return Err(("start", code, "PAM does not start".to_owned()));
    }
    let mut handle = Handle { pam, last: code };
    let mut done = |step: &'static str, code: c_int| {
        handle.last = code;
        if code == ffi::PAM_SUCCESS {
            return Ok(());
        }
        // SAFETY: a static text of the library, or null.
        let word = unsafe { text(ffi::pam_strerror(pam, code)) };
        Err((step, code, word.unwrap_or_default()))
    };
    if let Some(rhost) = rhost {
        // SAFETY: PAM copies the text.
        done("start", unsafe { ffi::pam_set_item(pam, ffi::PAM_RHOST, rhost.as_ptr().cast()) })?;
    }
    // SAFETY: PAM copies the text.
    done("start", unsafe { ffi::pam_set_item(pam, ffi::PAM_TTY, c"jovis".as_ptr().cast()) })?;
    let flags = ffi::PAM_DISALLOW_NULL_AUTHTOK;
    // SAFETY: the handle lives.
    done("authenticate", unsafe { ffi::pam_authenticate(pam, flags) })?;
    // SAFETY: the handle lives.
    done("account", unsafe { ffi::pam_acct_mgmt(pam, flags) })?;
    let mut item: *const c_void = ptr::null();
    // SAFETY: the handle lives; the item stays PAM's.
    done("user", unsafe { ffi::pam_get_item(pam, ffi::PAM_USER, &mut item) })?;
    // SAFETY: this item is a text or null.
    unsafe { text(item.cast()) }.ok_or(("user", 0, "PAM_USER is not a text".to_owned()))
}

/// # Safety
/// Null, or a C text that lives during the call.
unsafe fn text(at: *const libc::c_char) -> Option<String> {
    // SAFETY: by the contract above.
    (!at.is_null()).then(|| unsafe { CStr::from_ptr(at) })?.to_str().ok().map(str::to_owned)
}

/// Answers what asks for a secret ([`Talk::answer`]), keeps what is said, knows no other answer.
unsafe extern "C" fn converse(
    count: c_int,
    messages: *mut *const ffi::pam_message,
    answers: *mut *mut ffi::pam_response,
    talk: *mut c_void,
) -> c_int {
    let Ok(count @ 1..=32) = usize::try_from(count) else { return ffi::PAM_CONV_ERR };
    // SAFETY: PAM hands back the address that `transact` gave it.
    let talk = unsafe { &mut *talk.cast::<Talk>() };
    // SAFETY: memory for PAM comes from malloc; PAM frees it, and the texts in it.
    let list = unsafe { libc::calloc(count, size_of::<ffi::pam_response>()) };
    let list = list.cast::<ffi::pam_response>();
    if list.is_null() {
        return ffi::PAM_CONV_ERR;
    }
    for index in 0..count {
        // SAFETY: Linux-PAM passes an array of `count` pointers to messages with texts.
        let message = unsafe { &**messages.add(index) };
        let style = message.msg_style;
        let asks = matches!(style, ffi::PAM_PROMPT_ECHO_OFF | ffi::PAM_PROMPT_ECHO_ON);
        let answer = if asks { talk.answer(style == ffi::PAM_PROMPT_ECHO_OFF) } else { None };
        match (style, answer) {
            (_, Some(answer)) => {
                // SAFETY: the answer ends with NUL; the copy goes to PAM.
                let copy = unsafe { libc::strdup(answer.as_ptr().cast()) };
                // SAFETY: within the array made above.
                unsafe { (*list.add(index)).resp = copy };
            }
            (ffi::PAM_ERROR_MSG | ffi::PAM_TEXT_INFO, None) => {
                // SAFETY: a C text or null.
                let said = unsafe { text(message.msg) }.unwrap_or_default();
                if talk.heard.len() < 16 {
                    talk.heard.push(said.chars().filter(|c| !c.is_control()).take(200).collect());
                }
            }
            _ => {
                for index in 0..count {
                    // SAFETY: our own array; texts in it are ours until we return success.
                    unsafe { wipe((*list.add(index)).resp) };
                }
                // SAFETY: made above, not handed out.
                unsafe { libc::free(list.cast()) };
                return ffi::PAM_CONV_ERR;
            }
        }
    }
    // SAFETY: PAM gave the place for the answer.
    unsafe { *answers = list };
    ffi::PAM_SUCCESS
}

/// # Safety
/// Null, or a text from malloc that nobody else has.
unsafe fn wipe(text: *mut libc::c_char) {
    if !text.is_null() {
        // SAFETY: by the contract above.
        unsafe {
            libc::explicit_bzero(text.cast(), libc::strlen(text));
            libc::free(text.cast());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(code: Option<&str>) -> Talk {
        let bytes = |text: &str| Zeroizing::new(format!("{text}\0").into_bytes());
        Talk { password: bytes("word"), code: code.map(bytes), asked: 0, heard: Vec::new() }
    }

    #[test]
    fn a_code_answers_the_second_question_and_no_other() {
        let mut plain = talk(None);
        assert_eq!(plain.answer(true), Some(&b"word\0"[..]));
        assert_eq!(plain.answer(true), Some(&b"word\0"[..]));
        assert_eq!(plain.answer(false), None, "it is shown nowhere");
        for hidden in [true, false] {
            let mut both = talk(Some("123"));
            assert_eq!(both.answer(true), Some(&b"word\0"[..]));
            assert_eq!(both.answer(hidden), Some(&b"123\0"[..]));
            assert_eq!(both.answer(true), None);
            assert_eq!(both.answer(false), None);
        }
        assert_eq!(talk(Some("123")).answer(false), None, "nor is it then");
    }
}
