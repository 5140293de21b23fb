//! The two filters as libgit2 calls them.
//!
//! git2 has no binding for filters, so this is the C interface (`git2/sys/filter.h`). Callbacks get
//! pointers that are valid for the call, and a payload that `check` makes and `cleanup` frees.
#![expect(
    unsafe_code,
    reason = "libgit2 takes filters through its C interface only"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::panic::catch_unwind;
use std::ptr::null;
use std::slice;
use std::sync::OnceLock;

use libgit2_sys::{git_attr_value, git_buf, git_buf_set, git_error_set_str};

use super::encoding::Encoding;
use super::{Conversion, Converted, Direction, Side};

/// The content stays as it is.
const PASSTHROUGH: c_int = libgit2_sys::GIT_PASSTHROUGH;

/// `GIT_FILTER_TO_WORKTREE`
const TO_FILE: c_int = 0;

/// The attributes, in the order in which `check` gets their values.
const ATTRIBUTES: &CStr = c"working-tree-encoding ident";

/// `git_filter_source`, which is opaque.
#[repr(C)]
struct Source {
    _opaque: [u8; 0],
}

/// `git_filter`
#[repr(C)]
struct Filter {
    version: c_uint,
    attributes: *const c_char,
    initialize: *const c_void,
    shutdown: *const c_void,
    check:
        extern "C" fn(*mut Filter, *mut *mut c_void, *const Source, *const *const c_char) -> c_int,
    apply: extern "C" fn(
        *mut Filter,
        *mut *mut c_void,
        *mut git_buf,
        *const git_buf,
        *const Source,
    ) -> c_int,
    stream: *const c_void,
    cleanup: extern "C" fn(*mut Filter, *mut c_void),
}

unsafe extern "C" {
    fn git_filter_register(name: *const c_char, filter: *mut Filter, priority: c_int) -> c_int;
    fn git_filter_source_mode(source: *const Source) -> c_int;
    fn git_filter_source_path(source: *const Source) -> *const c_char;
}

/// Makes libgit2 know the filters, once in a process.
pub(in crate::client::git) fn register() -> Result<(), git2::Error> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let done = DONE.get_or_init(|| {
        // Lower priorities are nearer to the blob; libgit2's own filters have 0 and 100.
        let outer = register_one(c"xp-outer", Side::Outer, -1000);
        outer && register_one(c"xp-inner", Side::Inner, 1000)
    });
    match done {
        true => Ok(()),
        false => Err(git2::Error::from_str("filters cannot be registered")),
    }
}

fn register_one(name: &CStr, side: Side, priority: c_int) -> bool {
    let filter = Box::leak(Box::new(Filter {
        version: 1,
        attributes: ATTRIBUTES.as_ptr(),
        initialize: null(),
        shutdown: null(),
        check,
        apply: match side {
            Side::Outer => outer,
            Side::Inner => inner,
        },
        stream: null(),
        cleanup,
    }));
    libgit2_sys::init();
    // SAFETY: the filter and the name live as long as the process or the call, as libgit2 copies the
    // name. libgit2 guards its list of filters by a lock.
    unsafe { git_filter_register(name.as_ptr(), filter, priority) == 0 }
}

extern "C" fn check(
    _: *mut Filter,
    payload: *mut *mut c_void,
    _: *const Source,
    values: *const *const c_char,
) -> c_int {
    if values.is_null() {
        return PASSTHROUGH;
    }
    // SAFETY: libgit2 gives one value for each of the attributes, and a place for the payload.
    let conversion = unsafe {
        let (encoding, ident) = (*values, *values.add(1));
        Conversion {
            ident: git_attr_value(ident) == libgit2_sys::GIT_ATTR_VALUE_TRUE,
            encoding: match git_attr_value(encoding) {
                libgit2_sys::GIT_ATTR_VALUE_STRING => {
                    Encoding::of(&CStr::from_ptr(encoding).to_string_lossy())
                }
                libgit2_sys::GIT_ATTR_VALUE_TRUE => Encoding::without_name(true),
                libgit2_sys::GIT_ATTR_VALUE_FALSE => Encoding::without_name(false),
                _ => None,
            },
        }
    };
    if !conversion.ident && conversion.encoding.is_none() {
        return PASSTHROUGH;
    }
    // SAFETY: as above.
    unsafe { *payload = Box::into_raw(Box::new(conversion)).cast() };
    0
}

extern "C" fn cleanup(_: *mut Filter, payload: *mut c_void) {
    if !payload.is_null() {
        // SAFETY: it comes from `check`, and libgit2 cleans up once.
        drop(unsafe { Box::from_raw(payload.cast::<Conversion>()) });
    }
}

extern "C" fn outer(
    _: *mut Filter,
    payload: *mut *mut c_void,
    to: *mut git_buf,
    from: *const git_buf,
    source: *const Source,
) -> c_int {
    apply(Side::Outer, payload, to, from, source)
}

extern "C" fn inner(
    _: *mut Filter,
    payload: *mut *mut c_void,
    to: *mut git_buf,
    from: *const git_buf,
    source: *const Source,
) -> c_int {
    apply(Side::Inner, payload, to, from, source)
}

fn apply(
    side: Side,
    payload: *mut *mut c_void,
    to: *mut git_buf,
    from: *const git_buf,
    source: *const Source,
) -> c_int {
    // SAFETY: all of it is valid for this call; the payload comes from `check`, as no filter is applied
    // for which that said no.
    let (conversion, content, direction, path) = unsafe {
        let content = match (*from).size {
            0 => &[],
            size => slice::from_raw_parts((*from).ptr.cast::<u8>(), size),
        };
        let direction = match git_filter_source_mode(source) {
            TO_FILE => Direction::ToFile,
            _ => Direction::ToBlob,
        };
        let path = git_filter_source_path(source);
        let path = match path.is_null() {
            true => String::new(),
            false => CStr::from_ptr(path).to_string_lossy().into_owned(),
        };
        (&*(*payload).cast::<Conversion>(), content, direction, path)
    };
    // A panic must not pass through C.
    let converted = catch_unwind(|| conversion.apply(side, direction, content));
    let message = match converted {
        Ok(Ok(Converted::Unchanged)) => return PASSTHROUGH,
        Ok(Ok(Converted::Changed(changed))) => {
            // SAFETY: libgit2 copies the bytes into its own buffer.
            return unsafe { git_buf_set(to, changed.as_ptr().cast(), changed.len()) };
        }
        Ok(Err(unsupported)) => format!("`{path}`: {unsupported}"),
        Err(_) => format!("`{path}` cannot be converted"),
    };
    let message = CString::new(message).unwrap_or_default();
    // SAFETY: libgit2 copies the message.
    unsafe { git_error_set_str(libgit2_sys::GIT_ERROR_FILTER as c_int, message.as_ptr()) };
    -1
}
