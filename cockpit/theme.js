// Light or dark, as Cockpit's own pages decide it: the choice in its menu, or the system.

const DARK = ["pf-v6-theme-dark", "pf-v5-theme-dark", "pf-theme-dark"];
const system = window.matchMedia("(prefers-color-scheme: dark)");

function apply(chosen) {
    const style = chosen || localStorage.getItem("shell:style") || "auto";
    const isDark = style === "dark" || (style === "auto" && system.matches);
    for (const name of DARK)
        document.documentElement.classList.toggle(name, isDark);
    document.documentElement.classList.toggle("dark", isDark);
}

export function followTheme() {
    window.addEventListener("storage", event => {
        if (event.key === "shell:style")
            apply();
    });
    window.addEventListener("cockpit-style", event => apply(event.detail?.style));
    system.addEventListener("change", () => apply());
    apply();
}
