//! What went wrong below, in the shape in which it is told.

use crate::config::settings::SettingsError;
use crate::config::{ServiceName, Source};
use crate::problem::Problem;
use crate::proxylet::error::{ControlError, LoadError, StartError};
use crate::proxylet::fetch::FetchError;
use crate::proxylet::swap::SwapError;
use crate::proxylet::trust::TrustError;

pub(crate) fn fetch(source: &Source, error: &FetchError) -> Box<Problem> {
    let (code, status) = match error {
        FetchError::TooLarge { .. } => ("too-large", 422),
        FetchError::File(_) | FetchError::NoFile => ("unreadable-file", 422),
        FetchError::Redirect { .. } => ("redirect", 422),
        FetchError::Registry(error) if !error.is_elsewhere() => ("bad-image", 422),
        _ => ("unreachable", 502),
    };
    Problem::new(code, status, format!("the proxylet cannot be fetched: {error}"))
        .at(source.to_string())
        .fix(error.fix())
}

pub(crate) fn signatures(source: &Source, error: &FetchError) -> Box<Problem> {
    let mut problem = fetch(source, error);
    problem.title = format!("the signatures of the proxylet cannot be fetched: {error}");
    problem
}

pub(crate) fn trust(source: &Source, error: &TrustError) -> Box<Problem> {
    let file = source.to_string();
    let how = match source {
        Source::Oci(image) => format!(
            "let a trusted key sign it and publish it again: eep proxylet sign FILE --key SECRET.key\n\
             and then eep proxylet publish FILE {image}"
        ),
        Source::Http(_) | Source::File(_) | Source::Mesh(..) => {
            let name = file.rsplit('/').next().unwrap_or("FILE");
            format!(
                "let a trusted key sign it: eep proxylet sign {name} --key SECRET.key\n\
                 and put {name}.minisig beside it"
            )
        }
    };
    let how = format!("{how}; or run the node with --dev, which checks no signatures");
    let told = error.to_string();
    let (code, title, fix) = match error {
        TrustError::Unsigned(_) => ("unsigned", told, how),
        TrustError::TooFew { .. } => ("under-signed", told, how),
        TrustError::Signatures(_) => ("bad-signatures", told, how),
        TrustError::Keyring(_) => {
            let (title, fix) = told.split_once('\n').unwrap_or((&told, "correct `trust` in the node file"));
            ("bad-keys", title.to_owned(), fix.to_owned())
        }
    };
    Problem::new(code, 422, title).at(file).fix(fix)
}

pub(crate) fn load(source: &Source, error: &LoadError) -> Box<Problem> {
    let told = error.to_string();
    // These say what to do after a colon.
    let split = || match told.rsplit_once(": ") {
        Some((title, fix)) => (title.to_owned(), fix.to_owned()),
        None => (told.clone(), "build it again".to_owned()),
    };
    let whole = |fix: &str| (told.clone(), fix.to_owned());
    let (code, (title, fix)) = match error {
        LoadError::Digest { .. } => {
            ("digest-mismatch", whole("give the digest of the file that is meant, or its address"))
        }
        LoadError::NotWasm { .. } => ("not-wasm", split()),
        LoadError::Truncated { .. } => ("truncated", split()),
        LoadError::CoreModule => ("not-a-component", split()),
        LoadError::NoExport { .. } => ("not-a-proxylet", split()),
        LoadError::Version { .. } => ("unknown-interface", split()),
        LoadError::Shape { .. } => ("other-contract", split()),
        LoadError::UnknownInterface { interface, offered, fix } => {
            let title = format!("the proxylet imports `{interface}`, which this node does not offer");
            ("unknown-interface", (title, format!("{fix}\nthis node offers {offered}")))
        }
        LoadError::Invalid { .. } | LoadError::Compile(_) => {
            ("invalid-wasm", whole("fetch it again, or build it again with `eep proxylet build`"))
        }
        LoadError::Manifest(_) => {
            ("bad-embedded-manifest", whole("correct proxylet.json and build it again"))
        }
        LoadError::NotGranted { .. } | LoadError::Grant(_) => {
            ("missing-grant", whole("grant it with --grant"))
        }
    };
    Problem::new(code, 422, title).at(source.to_string()).fix(fix)
}

pub(super) fn start(name: &ServiceName, source: &Source, error: StartError) -> Box<Problem> {
    match error {
        StartError::Load(error) => load(source, &error),
        StartError::Limits(error) => {
            Problem::new("bad-limits", 422, error.to_string()).at("limits").fix("correct the limit")
        }
        StartError::Full { .. } => {
            Problem::new("node-full", 503, error.to_string()).at(name.to_string()).fix("stop a service first")
        }
        StartError::Refused(_) => Problem::new(
            "start-refused",
            422,
            format!("the service did not start: {error}"),
        )
        .at(name.to_string())
        .fix(
            "correct what it names: its configuration is changed with --set, what it may reach with --grant",
        ),
        StartError::Trapped(_) => {
            Problem::new("start-trapped", 422, format!("the service did not start: {error}"))
                .at(name.to_string())
                .fix("report it to the proxylet's author, or raise `limits` where one is named")
        }
        _ => Problem::new("start-failed", 500, format!("the service did not start: {error}"))
            .at(name.to_string())
            .fix("see the node's log"),
    }
}

/// `is_other_code`: whether the state was that of other code.
pub(super) fn swap(
    name: &ServiceName,
    source: &Source,
    is_other_code: bool,
    error: SwapError,
) -> Box<Problem> {
    let told = error.to_string();
    let goes_on = format!("{told}; the former version goes on");
    match error {
        SwapError::Refused(error) => {
            let may_be_state = is_other_code && matches!(error, StartError::Refused(_));
            let mut problem = start(name, source, error);
            problem.title = goes_on;
            if may_be_state {
                let more = format!(
                    "\na state that it cannot read is left behind with `eep unload {name}` and another `eep load`"
                );
                problem.fix.get_or_insert_default().push_str(&more);
            }
            problem
        }
        SwapError::Control(error) => control(name, &error),
        SwapError::Save(_) => Problem::new("save-trapped", 422, told).at(name.to_string()).fix(format!(
            "report it to the proxylet's author; `eep stop {name}` and then `eep modify {name}` does without its state"
        )),
        SwapError::RolledBack(_) => Problem::new("rolled-back", 422, goes_on)
            .at(name.to_string())
            .fix(format!("see `eep logs {name}`, and report it to the proxylet's author")),
    }
}

pub(super) fn control(name: &ServiceName, error: &ControlError) -> Box<Problem> {
    Problem::new("busy", 409, error.to_string()).at(name.to_string()).fix("see `eep status`, and try again")
}

pub(super) fn settings(error: SettingsError) -> Box<Problem> {
    Problem::new("bad-config", 422, error.message).at(error.place).fix(error.fix)
}

pub(super) fn name_in_use(name: &ServiceName) -> Box<Problem> {
    Problem::new("name-in-use", 409, format!("a service called {name} is there already"))
        .at("name")
        .fix(format!("choose another with --name, change it with `eep modify {name}`, or remove it with `eep unload {name}`"))
}

pub(crate) fn no_such(name: &str) -> Box<Problem> {
    Problem::new("no-such-service", 404, format!("there is no service called {name}"))
        .at("name")
        .fix("see `eep list` for those that there are")
}

pub(super) fn under_way(name: &ServiceName) -> Box<Problem> {
    Problem::new("busy", 409, format!("another change of {name} is under way"))
        .at(name.to_string())
        .fix("try again when it is done")
}

pub(super) fn ending() -> Box<Problem> {
    Problem::new("node-ending", 503, "the node is about to end").fix("start it again with `eep run`")
}
