// What doctor has found, but for what is well.

import { _, button, label, make } from "./elements.js";
import { canRun } from "./commands.js";

const LEVELS = { wrong: [_("wrong"), "red"], note: [_("note"), "orange"] };

// `cure(finding)` is called to run one.
export function findingsList(findings, cure) {
    const bad = ["wrong", "note"].flatMap(level => findings.filter(one => one.level === level));
    if (bad.length === 0)
        return make("p", { class: "well" }, _("Nothing is to be mended."));
    return make("ul", { class: "findings" }, bad.map(one => findingItem(one, cure)));
}

export function cureButton(finding, cure) {
    if (!finding.cure)
        return null;
    const key = { "data-key": `cure ${finding.id} ${finding.object}` };
    if (canRun(finding.cure))
        return button(_("Run the cure"), "secondary", () => cure(finding), key);
    return button(_("Copy the cure"), "link", event => copy(finding.cure.text, event.currentTarget), key);
}

function findingItem(finding, cure) {
    const [word, colour] = LEVELS[finding.level];
    return make("li", { "data-finding": finding.id },
                label(word, colour),
                make("div", { class: "finding" },
                     make("p", {}, finding.text),
                     finding.cure && make("p", { class: "cure" }, finding.cure.text)),
                cureButton(finding, cure));
}

// Without TLS a browser has no clipboard for pages, and copies what is selected.
async function copy(text, where) {
    try {
        await navigator.clipboard.writeText(text);
    } catch {
        const area = make("textarea", { readonly: true, class: "unseen" });
        area.value = text;
        where.after(area);
        area.select();
        document.execCommand("copy");
        area.remove();
        where.focus();
    }
    where.firstChild.textContent = _("Copied");
}
