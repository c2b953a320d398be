//! `ullim config check` and `ullim config show`.

use anyhow::anyhow;

use crate::cli::Overrides;
use crate::configuration::{self, Loaded};
use crate::failure::Failure;

pub(crate) fn check(overrides: &Overrides) -> Result<(), Failure> {
    load(overrides)?;
    println!("ok");
    Ok(())
}

pub(crate) fn show(overrides: &Overrides) -> Result<(), Failure> {
    let loaded = load(overrides)?;
    print!("{}", configuration::show(&loaded.settings).map_err(Failure::Runtime)?);
    Ok(())
}

/// Problems are what these commands look for, so finding some is no wrong usage.
fn load(overrides: &Overrides) -> Result<Loaded, Failure> {
    let loaded = configuration::load(&overrides.layers());
    let loaded = loaded.map_err(|problems| Failure::Runtime(anyhow!("the configuration cannot work:\n{problems}")))?;
    for warning in &loaded.warnings {
        eprintln!("ullim: {warning}");
    }
    Ok(loaded)
}
