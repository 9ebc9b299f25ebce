// The table of forwards, guest by guest.

import { _, button, label, make, pf, say } from "./elements.js";

const STATES = {
    active: [_("active"), "green"],
    pending: [_("pending"), "orange"],
    stopped: [_("stopped"), "grey"],
    conflict: [_("conflict"), "red"],
    blocked: [_("blocked"), "red"],
};
const COLUMNS = [
    _("Published"), _("Target"), _("Protocol"), _("Who may connect"), _("State"),
    _("Connections"),
];

const bracketed = address => address.includes(":") ? `[${address}]` : address;

export function publishedOf(row) {
    return row.host_ip === "*" ? row.published : `${bracketed(row.host_ip)}:${row.published}`;
}

function whoMay(row) {
    if (row.allow_from.length > 0)
        return row.allow_from.join(", ");
    return row.host_ip.startsWith("127.") ? _("this host alone") : _("everybody");
}

// `actions` has what the buttons call: add(guest), change(row), remove(row).
export function forwardsTable(status, actions) {
    const head = make("thead", { class: pf("table__thead") },
                      make("tr", { class: pf("table__tr") },
                           COLUMNS.map(one => make("th", { class: pf("table__th"), scope: "col" }, one)),
                           make("th", { class: pf("table__th"), scope: "col" },
                                make("span", { class: "unseen" }, _("Actions")))));
    return make("table", { class: `${pf("table", "compact")} forwards`, "aria-labelledby": "forwards" },
                head, [...status.guests, ...unmatched(status)].map(
                    guest => guestBody(guest, status.forwards, actions)));
}

// Patterns whose forwards no guest has: they stand in the place of a guest.
function unmatched({ guests, forwards }) {
    const known = guests.map(one => one.name);
    const names = new Set(forwards.map(row => row.guest).filter(one => !known.includes(one)));
    return [...names].map(name => ({ name, state: "pattern", addresses: [] }));
}

function guestBody(guest, forwards, actions) {
    const rows = forwards.filter(row => row.guest === guest.name);
    const isPattern = guest.state === "pattern";
    const words = { running: _("running"), pattern: _("a pattern") };
    const about = [words[guest.state] ?? _("stopped"), ...guest.addresses].join(", ");
    const head = make("tr", { class: `${pf("table__tr")} guest` },
                      make("th", { class: pf("table__th"), scope: "rowgroup", colspan: COLUMNS.length },
                           make("strong", {}, guest.name), " ", make("span", { class: "about" }, about)),
                      make("td", { class: `${pf("table__td")} row-actions` },
                           !isPattern && button(_("Add"), "link", () => actions.add(guest.name), {
                               "data-key": `add ${guest.name}`,
                               "aria-label": say(_("Add a forward to $0"), guest.name),
                           })));
    const seen = new Set();
    const lines = rows.map(row => {
        const one = `${publishedOf(row)}/${row.protocol}`;
        const isFirst = !seen.has(one);
        seen.add(one);
        return forwardRow(row, one, isFirst, actions);
    });
    return make("tbody", { class: pf("table__tbody"), "data-guest": guest.name }, head, lines,
                rows.length === 0 &&
                    make("tr", { class: pf("table__tr") },
                         make("td", { class: `${pf("table__td")} none`, colspan: COLUMNS.length + 1 },
                              _("No port is published."))));
}

function cell(title, ...children) {
    const content = make("div", {}, ...children);
    return make("td", { class: pf("table__td"), "data-label": title }, content);
}

function forwardRow(row, name, isFirst, actions) {
    const [word, colour] = STATES[row.state] ?? [row.state, "grey"];
    const reason = row.reason && make("p", { class: "reason" }, row.reason);
    const named = text => ({ "aria-label": say(text, name, row.guest) });
    const places = { metadata: _("in the guest's metadata"), pattern: say(_("by the pattern $0"), row.pattern) };
    const elsewhere = places[row.source];
    // A whole address is no entry of its own.
    const buttons = isFirst && !elsewhere && row.published !== "all" && [
        button(_("Change"), "link", () => actions.change(row),
               { ...named(_("Change $0 of $1")), "data-key": `change ${row.guest} ${name}` }),
        button(_("Remove"), "link", () => actions.remove(row),
               { ...named(_("Remove $0 of $1")), "data-key": `remove ${row.guest} ${name}` }),
    ];
    return make("tr", { class: pf("table__tr"), "data-forward": name },
                cell(COLUMNS[0], publishedOf(row),
                     elsewhere ? make("p", { class: "reason" }, elsewhere) : null),
                cell(COLUMNS[1], `${row.address ? bracketed(row.address) : "–"}:${row.target}`),
                cell(COLUMNS[2], row.protocol),
                cell(COLUMNS[3], whoMay(row)),
                cell(COLUMNS[4], label(word, colour), reason || null),
                cell(COLUMNS[5], String(row.connections)),
                make("td", { class: `${pf("table__td")} row-actions` }, buttons || null));
}
