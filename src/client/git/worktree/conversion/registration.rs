//! Registers the two filters with libgit2.
//!
//! git2 has no bindings for filters, so this uses the C interface (`git2/sys/filter.h`). The pointers passed
//! to callbacks are valid for the call; `check` allocates the payload and `cleanup` frees it.
#![expect(
    unsafe_code,
    reason = "libgit2 accepts filters only through its C interface"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::panic::catch_unwind;
use std::ptr::null;
use std::slice;
use std::sync::OnceLock;

use libgit2_sys::{git_attr_value, git_buf, git_buf_set, git_error_set_str};

use super::encoding::Encoding;
use super::{Conversion, ConversionDirection, Converted, Side};

/// The content is not changed.
const PASSTHROUGH: c_int = libgit2_sys::GIT_PASSTHROUGH;

/// `GIT_FILTER_TO_WORKTREE`
const TO_FILE: c_int = 0;

/// The attributes, in the order in which `check` receives their values.
const ATTRIBUTES: &CStr = c"working-tree-encoding ident";

/// `git_filter_source`, which is opaque.
#[repr(C)]
struct FilterSource {
    _opaque: [u8; 0],
}

/// `git_filter`
#[repr(C)]
struct GitFilter {
    version: c_uint,
    attributes: *const c_char,
    initialize: *const c_void,
    shutdown: *const c_void,
    check: extern "C" fn(
        *mut GitFilter,
        *mut *mut c_void,
        *const FilterSource,
        *const *const c_char,
    ) -> c_int,
    apply: extern "C" fn(
        *mut GitFilter,
        *mut *mut c_void,
        *mut git_buf,
        *const git_buf,
        *const FilterSource,
    ) -> c_int,
    stream: *const c_void,
    cleanup: extern "C" fn(*mut GitFilter, *mut c_void),
}

unsafe extern "C" {
    fn git_filter_register(name: *const c_char, filter: *mut GitFilter, priority: c_int) -> c_int;
    fn git_filter_source_mode(source: *const FilterSource) -> c_int;
    fn git_filter_source_path(source: *const FilterSource) -> *const c_char;
}

/// Registers the filters with libgit2, once per process.
pub fn register() -> Result<(), git2::Error> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let done = DONE.get_or_init(|| {
        // Lower priorities are closer to the blob; libgit2's own filters have 0 and 100.
        let outer = register_one(c"xp-outer", Side::Outer, -1000);
        outer && register_one(c"xp-inner", Side::Inner, 1000)
    });
    if *done {
        Ok(())
    } else {
        Err(git2::Error::from_str("cannot register filters"))
    }
}

fn register_one(name: &CStr, side: Side, priority: c_int) -> bool {
    let filter = Box::leak(Box::new(GitFilter {
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
    // SAFETY: the filter is leaked, and libgit2 copies the name. libgit2 guards its list of filters with a
    // lock.
    unsafe { git_filter_register(name.as_ptr(), filter, priority) == 0 }
}

extern "C" fn check(
    _: *mut GitFilter,
    payload: *mut *mut c_void,
    _: *const FilterSource,
    values: *const *const c_char,
) -> c_int {
    if values.is_null() {
        return PASSTHROUGH;
    }
    // SAFETY: libgit2 passes one value for each attribute, and a valid pointer for the payload.
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

extern "C" fn cleanup(_: *mut GitFilter, payload: *mut c_void) {
    if !payload.is_null() {
        // SAFETY: `check` allocated it, and libgit2 calls `cleanup` once.
        drop(unsafe { Box::from_raw(payload.cast::<Conversion>()) });
    }
}

extern "C" fn outer(
    _: *mut GitFilter,
    payload: *mut *mut c_void,
    to: *mut git_buf,
    from: *const git_buf,
    source: *const FilterSource,
) -> c_int {
    apply(Side::Outer, payload, to, from, source)
}

extern "C" fn inner(
    _: *mut GitFilter,
    payload: *mut *mut c_void,
    to: *mut git_buf,
    from: *const git_buf,
    source: *const FilterSource,
) -> c_int {
    apply(Side::Inner, payload, to, from, source)
}

fn apply(
    side: Side,
    payload: *mut *mut c_void,
    to: *mut git_buf,
    from: *const git_buf,
    source: *const FilterSource,
) -> c_int {
    // SAFETY: all pointers are valid for this call; the payload comes from `check`, because libgit2 does not
    // apply a filter whose `check` returned `PASSTHROUGH`.
    let (conversion, content, direction, path) = unsafe {
        let content = match (*from).size {
            0 => &[],
            size => slice::from_raw_parts((*from).ptr.cast::<u8>(), size),
        };
        let direction = match git_filter_source_mode(source) {
            TO_FILE => ConversionDirection::ToFile,
            _ => ConversionDirection::ToBlob,
        };
        let path = git_filter_source_path(source);
        let path = if path.is_null() {
            String::new()
        } else {
            CStr::from_ptr(path).to_string_lossy().into_owned()
        };
        (&*(*payload).cast::<Conversion>(), content, direction, path)
    };
    // A panic must not unwind into C.
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
