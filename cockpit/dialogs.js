// Dialogs: to add, change and remove a forward, and to run a cure. What would be refused
// is what the command line refuses, in its own words; nothing is judged here.

import { _, button, make, pf, printed, say } from "./elements.js";
import { addCommand, removeCommand, run, runCure } from "./commands.js";
import { publishedOf } from "./table.js";

const PAUSE = 350; // milliseconds without a key, before what is typed is checked

// Shows a dialog; it is gone when it is closed, and who had the keyboard has it again.
function open(title, body, buttons) {
    const before = document.activeElement;
    const key = before?.dataset?.key;
    const cancel = button(_("Cancel"), "link", () => dialog.close());
    const head = make("h1", { class: pf("title", "xl"), id: "dialog-title" }, title);
    const dialog = make("dialog", { class: "box", "aria-labelledby": "dialog-title" },
                        head, body, make("footer", {}, buttons, cancel));
    dialog.addEventListener("close", () => {
        dialog.remove();
        const again = key && document.querySelector(`[data-key="${CSS.escape(key)}"]`);
        (again || (before?.isConnected && before) || document.getElementById("vfwhooks")).focus();
    });
    document.body.append(dialog);
    dialog.showModal();
    return dialog;
}

// What is shown below the fields, and read out when it changes.
function makeAnswer() {
    const element = make("div", { class: "answer", role: "status", "aria-live": "polite" });
    return {
        element,
        show(title, text, isBad = false) {
            element.classList.toggle("bad", isBad);
            element.replaceChildren(make("h2", {}, title), printed(text));
        },
        clear: () => element.replaceChildren(),
    };
}

// Tries what a command would do; true if it would do it.
async function tryOut(argv, answer, isCurrent = () => true) {
    const done = await run(argv, true);
    if (!isCurrent())
        return false;
    const isGood = done.status === 0;
    answer.show(isGood ? _("What would change:") : _("This is refused:"),
                done.out || done.message, !isGood);
    return isGood;
}

// Does it. `told` is called with what was printed.
async function carryOut(argv, dialog, answer, told) {
    const done = await run(argv, true);
    if (done.status === 0) {
        dialog.close();
        told(done.out);
    } else {
        answer.show(_("This has failed:"), done.out || done.message, true);
    }
    return done.status === 0;
}

function field(name, title, value, hint, attributes = {}) {
    const id = `field-${name}`;
    const input = make("input", { id, name, value, autocomplete: "off", spellcheck: "false",
                                  "aria-describedby": hint ? `${id}-hint` : null, ...attributes });
    return make("div", { class: `${pf("form__group")} field` },
                make("label", { for: id, class: pf("form__label") }, title),
                make("span", { class: pf("form-control") }, input),
                hint && make("small", { id: `${id}-hint` }, hint));
}

function protocolField(value) {
    const options = ["tcp", "udp", "sctp"].map(
        one => make("option", { value: one, selected: one === value }, one));
    const select = make("select", { id: "field-protocol", name: "protocol" }, options);
    return make("div", { class: `${pf("form__group")} field` },
                make("label", { for: "field-protocol", class: pf("form__label") }, _("Protocol")),
                make("span", { class: pf("form-control") }, select));
}

function makeForm(guest, guests, row) {
    const isAny = !row || row.host_ip === "*";
    return make("form", { id: "forward", class: `${pf("form")} form`, novalidate: true },
                field("guest", _("Guest"), guest, null,
                      { list: "guests", readonly: Boolean(row), required: true }),
                make("datalist", { id: "guests" }, guests.map(one => make("option", { value: one }))),
                make("div", { class: "beside" },
                     field("published", _("Port of the host"), row?.published ?? "",
                           _("A port, or a range: 5000-5010"), { required: true }),
                     field("target", _("Port of the guest"), row?.target ?? "",
                           _("Empty: the same")),
                     protocolField(row?.protocol ?? "tcp")),
                field("host", _("Address of the host"), isAny ? "" : row.host_ip,
                      _("Empty: every address")),
                field("allowed", _("Who may connect"), row ? row.allow_from.join(", ") : "",
                      _("Networks, as 198.51.100.0/24; empty: everybody")));
}

// Adds a forward, or changes `row`. `told` is called with what was done.
export function openForward(guest, guests, row, told) {
    const form = makeForm(guest, guests, row);
    const answer = makeAnswer();
    const go = button(row ? _("Change") : _("Add"), "primary", null,
                      { type: "submit", form: "forward", disabled: true, id: "go" });
    const title = row ? say(_("Change $0 of $1"), publishedOf(row), row.guest) : _("Add a forward");
    const dialog = open(title, make("div", {}, form, answer.element), [go]);
    const command = dry => addCommand(Object.fromEntries(new FormData(form)), row, dry);
    let timer = 0;
    let typed = 0;

    async function check() {
        const mine = ++typed;
        if (!form.elements.guest.value || !form.elements.published.value) {
            answer.clear();
            return;
        }
        const isGood = await tryOut(command(true), answer, () => mine === typed && dialog.open);
        if (mine === typed)
            go.disabled = !isGood;
    }

    form.addEventListener("input", () => {
        go.disabled = true;
        typed++;
        clearTimeout(timer);
        timer = setTimeout(check, PAUSE);
    });
    form.addEventListener("submit", async event => {
        event.preventDefault();
        if (go.disabled)
            return;
        go.disabled = true;
        go.disabled = !await carryOut(command(false), dialog, answer, told);
    });
    form.elements[guest ? "published" : "guest"].focus();
    if (row)
        check();
}

// Removes a forward, after a look at what goes.
export async function openRemoval(row, told) {
    const answer = makeAnswer();
    const go = button(_("Remove"), "danger", async () => {
        go.disabled = true;
        await carryOut(removeCommand(row, false), dialog, answer, told);
    }, { disabled: true, id: "go" });
    const name = `${publishedOf(row)}/${row.protocol}`;
    const dialog = open(say(_("Remove $0 of $1"), name, row.guest), answer.element, [go]);
    go.disabled = !await tryOut(removeCommand(row, true), answer, () => dialog.open);
    if (!go.disabled)
        go.focus();
}

// Runs the cure of a finding, after a confirmation. `told` is called with what it printed.
export function openCure(finding, told) {
    const answer = makeAnswer();
    const body = make("div", {}, make("p", {}, finding.text),
                      make("p", {}, make("code", {}, finding.cure.argv.join(" "))), answer.element);
    const go = button(_("Run it"), "primary", async () => {
        go.disabled = true;
        const done = await runCure(finding);
        if (done?.status === 0) {
            dialog.close();
            told(done.out);
        } else if (done) {
            answer.show(_("This has failed:"), done.out || done.message, true);
        } else {
            answer.show(_("Nothing was run:"), _("doctor does not say so any more."), true);
        }
    }, { id: "go" });
    const dialog = open(_("Run this command as root?"), body, [go]);
    go.focus();
}
