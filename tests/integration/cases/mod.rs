//! The tests, by subject.

mod bases;
mod build_secrets;
mod builder;
mod builder_images;
mod canaries;
mod check;
mod ci;
mod clean;
mod clean_faults;
mod clean_local;
mod clean_registry;
mod clean_signed;
mod cluster;
mod cluster_faults;
mod cluster_pods;
mod completions;
mod compose_deploy;
mod contained;
mod copy;
mod copy_signed;
mod credentials;
mod decisions;
mod deploy;
mod deploy_render;
mod disk;
mod docker_paths;
mod docs;
mod doctor;
mod doctor_registry;
mod editor;
mod engine_alone;
mod engine_restart;
mod events;
mod faults;
mod faults_base;
mod faults_engine;
mod first_hour;
mod fleet;
mod fleet_doctor;
mod fleet_faults;
mod fleet_features;
mod fleet_page;
mod fleet_proxy;
mod fleet_scale;
mod foreign_cluster;
mod foreign_images;
mod git_attributes;
mod git_exclude;
mod git_export;
mod git_lfs;
mod git_logins;
mod git_paths;
mod git_references;
mod git_ssh;
mod git_submodules;
mod git_sync;
mod git_transports;
mod git_user_work;
mod graph;
mod help;
mod hostile;
mod identity;
mod image_build;
mod image_results;
mod init;
mod init_compose;
mod init_folders;
mod init_west;
mod interrupt;
mod items;
mod kill;
mod kill_commands;
mod layers;
mod local;
mod lock;
mod lock_diff;
mod logs;
mod manifest;
mod messages;
mod moved;
mod needed_images;
mod otlp;
mod plain_lines;
mod plan;
mod platform_flows;
mod platform_scripts;
mod platforms;
mod plugin_images;
mod plugins;
mod publish;
mod push_rights;
mod recipe;
mod refusals;
mod refused_push;
pub mod remote;
mod report;
mod report_page;
mod reproduce;
mod requests;
mod run;
mod run_terminal;
mod sbom;
mod scale;
mod scm;
mod scripts;
mod selection;
mod shards;
mod sidecars;
mod small;
mod status;
mod step_artifacts;
mod step_failures;
mod step_results;
mod supply;
mod supply_verify;
mod terminal;
mod test_reports;
mod trains;
mod two_at_once;
mod verify;
mod waiting;
mod watch;
mod why;
mod world;
mod wrapper;

use crate::case::Case;

/// Returns all tests.
pub fn all() -> Vec<Case> {
    [
        builder::CASES,
        builder_images::CASES,
        bases::CASES,
        build_secrets::CASES,
        reproduce::CASES,
        canaries::CASES,
        check::CASES,
        ci::CASES,
        clean::CASES,
        clean_faults::CASES,
        clean_local::CASES,
        clean_registry::CASES,
        clean_signed::CASES,
        cluster::CASES,
        cluster_faults::CASES,
        cluster_pods::CASES,
        completions::CASES,
        compose_deploy::CASES,
        contained::CASES,
        copy::CASES,
        copy_signed::CASES,
        credentials::CASES,
        decisions::CASES,
        deploy::CASES,
        deploy_render::CASES,
        disk::CASES,
        docker_paths::CASES,
        docs::CASES,
        doctor::CASES,
        doctor_registry::CASES,
        editor::CASES,
        engine_alone::CASES,
        engine_restart::CASES,
        events::CASES,
        faults::CASES,
        faults_base::CASES,
        faults_engine::CASES,
        first_hour::CASES,
        fleet::CASES,
        fleet_doctor::CASES,
        fleet_faults::CASES,
        fleet_features::CASES,
        fleet_page::CASES,
        fleet_proxy::CASES,
        fleet_scale::CASES,
        foreign_cluster::CASES,
        foreign_images::CASES,
        git_attributes::CASES,
        git_exclude::CASES,
        git_export::CASES,
        git_lfs::CASES,
        git_logins::CASES,
        git_paths::CASES,
        git_references::CASES,
        git_ssh::CASES,
        git_submodules::CASES,
        git_sync::CASES,
        git_transports::CASES,
        git_user_work::CASES,
        graph::CASES,
        help::CASES,
        identity::CASES,
        hostile::CASES,
        image_build::CASES,
        image_results::CASES,
        init::CASES,
        init_compose::CASES,
        init_folders::CASES,
        init_west::CASES,
        interrupt::CASES,
        items::CASES,
        kill::CASES,
        kill_commands::CASES,
        layers::CASES,
        local::CASES,
        lock::CASES,
        lock_diff::CASES,
        logs::CASES,
        manifest::CASES,
        messages::CASES,
        moved::CASES,
        needed_images::CASES,
        otlp::CASES,
        plain_lines::CASES,
        plan::CASES,
        platform_flows::CASES,
        platform_scripts::CASES,
        platforms::CASES,
        plugin_images::CASES,
        plugins::CASES,
        publish::CASES,
        push_rights::CASES,
        recipe::CASES,
        refusals::CASES,
        refused_push::CASES,
        remote::CASES,
        report::CASES,
        report_page::CASES,
        requests::CASES,
        run::CASES,
        run_terminal::CASES,
        scale::CASES,
        if scale::is_full() { scale::LONG } else { &[] },
        scm::CASES,
        scripts::CASES,
        selection::CASES,
        shards::CASES,
        sidecars::CASES,
        status::CASES,
        step_artifacts::CASES,
        step_failures::CASES,
        step_results::CASES,
        sbom::CASES,
        supply::CASES,
        supply_verify::CASES,
        terminal::CASES,
        test_reports::CASES,
        trains::CASES,
        two_at_once::CASES,
        verify::CASES,
        waiting::CASES,
        watch::CASES,
        why::CASES,
        world::CASES,
        wrapper::CASES,
    ]
    .concat()
}
