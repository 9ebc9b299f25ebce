// The page: what is forwarded on this host, kept up to date by `status --watch`.

import { _, banner, button, card, emptyState, make, pf, printed } from "./elements.js";
import { askCheck, askFindings, askStatus, drawHost, watchStatus } from "./commands.js";
import { openCure, openForward, openRemoval } from "./dialogs.js";
import { cureButton, findingsList } from "./findings.js";
import { forwardsTable } from "./table.js";
import { followTheme } from "./theme.js";

const page = document.getElementById("vfwhooks");
const NOTHING = { status: null, mistakes: [], findings: null, picture: "", done: "", ended: null };
let known = NOTHING;
let isAdmin = null; // null: not known yet
let stopWatching = null;
let isLooking = false;
let isStale = false;

// Draws the page anew; who has the keyboard keeps it.
function draw() {
    const key = document.activeElement?.dataset?.key;
    page.replaceChildren(...content());
    page.setAttribute("aria-busy", String(isAdmin === null || (isAdmin && !known.status && !known.ended)));
    if (key)
        document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

function content() {
    if (isAdmin === false)
        return [emptyState(_("Administrative access is needed"),
                           [_("Port forwards are shown and changed with administrative access.")],
                           [button(_("Turn on administrative access"), "primary", turnOnAccess)])];
    if (known.ended)
        return [endedState(known.ended)];
    if (!known.status)
        return [emptyState(_("Looking at the host …"), [])];
    return [pageHead(), ...banners(), forwardsCard(), pictureCard(), findingsCard()];
}

function endedState({ problem, message }) {
    if (problem === "not-found")
        return emptyState(_("vfwhooks is not installed"),
                          [_("This page needs the command vfwhooks on the host.")],
                          [button(_("Look again"), "primary", start)]);
    return emptyState(_("vfwhooks could not look at the host"), [message || problem],
                      [button(_("Look again"), "primary", start)]);
}

// Cockpit's own button in its frame, or else the page that has it.
function turnOnAccess() {
    const found = [...window.parent.document.querySelectorAll("#super-user-indicator button")];
    const visible = found.find(one => one.offsetParent !== null);
    if (visible)
        visible.click();
    else
        cockpit.jump("/system");
}

function pageHead() {
    return make("header", { class: "page-head" },
                make("h1", { class: pf("title", "2xl") }, _("Port forwards")),
                make("div", {},
                     button(_("Add a forward"), "primary", () => add(""), { "data-key": "add" }),
                     button(_("Look again"), "secondary", lookAgain, { "data-key": "again" })));
}

function banners() {
    const { status, mistakes, findings, done } = known;
    const errors = mistakes.filter(one => one.level === "error");
    const places = errors.map(one => `${one.file}:${one.line}:${one.column}`);
    const others = status.problems.filter(said => !places.some(place => said.includes(place)));
    const shown = [];
    if (done)
        shown.push(banner("success", _("Done"), [printed(done)],
                          [button(_("Close"), "link", () => update({ done: "" }), { "data-key": "close" })],
                          { role: "status", id: "done" }));
    if (errors.length > 0)
        shown.push(banner("danger", _("The file has mistakes; the last good one stays in force"),
                          errors.map((one, at) => `${places[at]}: ${one.message}`),
                          [], { role: "alert", id: "broken" }));
    if (others.length > 0)
        shown.push(banner("warning", _("Something is wrong with the host"), others, [],
                          { role: "alert", id: "problems" }));
    if (status.service === "stopped") {
        const found = findings?.find(one => ["service-stopped", "nothing-listens"].includes(one.id));
        shown.push(banner("warning", _("The service of vfwhooks does not run"),
                          found ? [found.text, found.cure?.text ?? ""] : [],
                          found ? [cureButton(found, cure)].filter(Boolean) : [],
                          { role: "alert", id: "service" }));
    }
    return shown;
}

function forwardsCard() {
    const { status } = known;
    const table = status.guests.length > 0
        ? forwardsTable(status, { add, change, remove })
        : make("p", { class: "none" }, _("No guest runs, and no port is published."));
    return card("forwards", _("Forwards"), null, table);
}

function pictureCard() {
    if (!known.picture)
        return card("picture", _("Who gets in"), null, make("p", { class: "none" }, "…"));
    // An image runs no scripts, whatever is in it.
    const image = make("img", { alt: _("Who gets in, and who is refused"), class: "picture" });
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(known.picture)}`;
    return card("picture", _("Who gets in"), null, make("div", { class: "picture-frame", tabindex: "0",
                                                                 "data-key": "picture" }, image));
}

function findingsCard() {
    const list = known.findings ? findingsList(known.findings, cure)
                                : make("p", { class: "none" }, "…");
    return card("findings", _("What doctor has found"), null, list);
}

const names = () => known.status.guests.map(one => one.name);
const add = guest => forget(() => openForward(guest, names(), null, tellDone));
const change = row => forget(() => openForward(row.guest, names(), row, tellDone));
const remove = row => forget(() => openRemoval(row, tellDone));
const cure = finding => forget(() => openCure(finding, tellDone));

// What was done before is old news when somebody begins with something else.
function forget(next) {
    update({ done: "" });
    next();
}

function tellDone(text) {
    update({ done: text || _("The command has printed nothing.") });
    look();
}

function update(news) {
    known = { ...known, ...news };
    draw();
}

// Asks for what the overview does not say. One round at a time: what changes meanwhile
// is seen by the next one.
async function look() {
    isStale = true;
    if (isLooking)
        return;
    isLooking = true;
    while (isStale && isAdmin && known.status) {
        isStale = false;
        const mistakes = known.status.problems.length > 0 ? (await askCheck())?.problems ?? [] : [];
        if (isAdmin)
            update({ mistakes });
        const findings = await askFindings();
        if (isAdmin)
            update({ findings });
        const picture = await drawHost();
        if (isAdmin)
            update({ picture });
    }
    isLooking = false;
}

async function lookAgain() {
    const status = await askStatus();
    if (status && isAdmin)
        update({ status });
    look();
}

function stop() {
    stopWatching?.();
    stopWatching = null;
    document.querySelectorAll("dialog").forEach(one => one.close());
    known = NOTHING;
}

function start() {
    stop();
    stopWatching = watchStatus(
        status => {
            update({ status });
            look();
        },
        (problem, message) => update({ ...NOTHING, ended: { problem, message } }));
    draw();
}

// Nothing of the host is asked or shown without administrative access.
function followAccess() {
    const superuser = cockpit.dbus(null, { bus: "internal" })
            .proxy("cockpit.Superuser", "/superuser");
    function changed() {
        const current = superuser.valid ? superuser.Current : "init";
        const is = current === "init" ? null : current !== "none";
        if (is === isAdmin)
            return;
        isAdmin = is;
        if (isAdmin) {
            start();
        } else {
            stop();
            draw();
        }
    }
    superuser.addEventListener("changed", changed);
    superuser.wait(changed);
}

followTheme();
cockpit.translate?.();
draw();
followAccess();
