// Elements of the page. Whatever comes from the host is put in as text, never as HTML.

export const _ = cockpit.gettext;
export const say = cockpit.format;

// The class of a component in each of PatternFly's generations: Cockpit has one of them.
function component(name) {
    return ["pf-v6-c-", "pf-v5-c-", "pf-c-"].map(prefix => prefix + name);
}

// pf("button", "primary"), pf("alert__title"): classes of a component, and modifiers.
export function pf(name, ...modifiers) {
    return [...component(name), ...modifiers.map(one => `pf-m-${one}`)].join(" ");
}

// An element with attributes (`on` has its listeners) and children, which are elements
// or text; what is null or false is left out.
export function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (name === "on")
            for (const [event, listener] of Object.entries(value))
                element.addEventListener(event, listener);
        else if (value === true)
            element.setAttribute(name, "");
        else if (value !== null && value !== false && value !== undefined)
            element.setAttribute(name, value);
    }
    element.append(...children.flat().filter(one => one !== null && one !== false));
    return element;
}

// A button; more of its attributes may be given.
export function button(text, kind, click, attributes = {}) {
    const label = make("span", { class: pf("button__text") }, text);
    const given = { type: "button", class: pf("button", kind), on: click ? { click } : {} };
    return make("button", { ...given, ...attributes }, label);
}

// A coloured word.
export function label(text, colour) {
    const content = make("span", { class: pf("label__content") },
                         make("span", { class: pf("label__text") }, text));
    return make("span", { class: `${pf("label", colour)} label ${colour}` }, content);
}

// A banner: `kind` is danger, warning, success or info.
export function banner(kind, title, lines, actions = [], attributes = {}) {
    const given = { class: `${pf("alert", kind, "inline")} banner ${kind}` };
    return make("section", { ...given, ...attributes },
                make("h2", { class: `${pf("alert__title")} banner-title` }, title),
                make("div", { class: `${pf("alert__description")} banner-text` },
                     lines.map(line => make("p", {}, line))),
                actions.length > 0 &&
                    make("div", { class: `${pf("alert__action-group")} banner-actions` },
                         actions));
}

// The whole page where there is nothing else to show.
export function emptyState(title, lines, actions = []) {
    return make("section", { class: `${pf("empty-state")} empty`, role: "status" },
                make("h1", { class: `${pf("title", "xl")} empty-title` }, title),
                lines.map(line => make("p", { class: pf("empty-state__body") }, line)),
                make("div", { class: "empty-actions" }, actions));
}

// A card with a heading; `aside` stands beside the heading.
export function card(id, title, aside, ...children) {
    return make("section", { class: `${pf("card")} card`, "aria-labelledby": id },
                make("div", { class: "card-head" },
                     make("h2", { id, class: pf("title", "lg") }, title),
                     make("div", { class: "card-actions" }, aside)),
                ...children);
}

// What a command has printed: line by line, those that come and go in colours.
export function printed(text) {
    const lines = text.split("\n").filter(line => line !== "");
    return make("div", { class: "printed" }, lines.map(line => {
        const sign = /^(?:\S+:\d+: )?([+-]) /.exec(line);
        const kind = sign ? (sign[1] === "+" ? "comes" : "goes") : "said";
        return make("p", { class: kind }, line);
    }));
}
