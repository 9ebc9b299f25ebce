// The command line of vfwhooks, run as the administrator. No shell is involved: what is
// typed on the page is one word of an argument vector, and never an option.

const TOOL = "vfwhooks"; // install.sh writes its path: a PATH of root may be without it
const AS_ROOT = { superuser: "require", environ: ["LC_ALL=C.UTF-8"] };
// The kinds of cures that may be run: the first word of the command is the kind.
const KINDS = ["vfwhooks", "sysctl", "systemctl", "setsebool"];

// Runs a command. `out` is what it has printed, with its errors if `both`; `problem` is
// Cockpit's word where it could not run ("not-found", "access-denied").
export function run(argv, both = false) {
    return new Promise(resolve => {
        let out = "";
        const process = cockpit.spawn(argv, { ...AS_ROOT, err: both ? "out" : "message" });
        process.stream(data => { out += data });
        process.then(
            () => resolve({ status: 0, out, problem: "", message: "" }),
            error => resolve({
                status: error.exit_status ?? -1,
                out,
                problem: error.problem || "",
                message: error.message || "",
            }));
    });
}

// Runs a command of vfwhooks that prints JSON; null where it has printed none.
async function ask(...words) {
    const done = await run([TOOL, ...words]);
    try {
        return JSON.parse(done.out);
    } catch {
        return null;
    }
}

export const askStatus = () => ask("status", "--json");
export const askCheck = () => ask("check", "--format", "json");
export const askFindings = async () => (await ask("doctor", "--json"))?.findings ?? [];

// The picture of the host, as SVG; "" where there is none.
export async function drawHost() {
    const done = await run([TOOL, "explain", "--svg", "-"]);
    return done.status === 0 ? done.out : "";
}

// Calls `show` with each overview of `status --watch`, and `end` when it has ended.
// Returns what ends it.
export function watchStatus(show, end) {
    let rest = "";
    let isWanted = true;
    const argv = [TOOL, "status", "--watch", "--json"];
    const process = cockpit.spawn(argv, { ...AS_ROOT, err: "message" });
    process.stream(data => {
        const lines = (rest + data).split("\n");
        rest = lines.pop();
        // Of several at once the last one counts.
        if (isWanted && lines.length > 0)
            show(JSON.parse(lines[lines.length - 1]));
    });
    const tell = error => isWanted && end(error?.problem || "", error?.message || "");
    process.then(() => tell(null), tell);
    return () => {
        isWanted = false;
        process.close("terminated");
    };
}

const isDry = ["--dry-run"];
const words = text => text.split(/[\s,]+/).filter(one => one !== "");

// The command that adds what the dialog says; in place of `replaced`, if there is one.
export function addCommand(fields, replaced, dry) {
    const ports = fields.target ? `${fields.published}:${fields.target}` : fields.published;
    const entry = fields.protocol === "tcp" ? ports : `${ports}/${fields.protocol}`;
    return [
        TOOL, "add", ...(dry ? isDry : []),
        ...words(fields.host).map(one => `--host-ip=${one}`),
        ...words(fields.allowed).map(one => `--allow-from=${one}`),
        ...(replaced ? [`--replace=${portOf(replaced)}`] : []),
        "--", fields.guest, entry,
    ];
}

export function removeCommand(row, dry) {
    return [TOOL, "remove", ...(dry ? isDry : []), "--", row.guest, portOf(row)];
}

// How remove names a forward.
function portOf(row) {
    const host = row.host_ip.includes(":") ? `[${row.host_ip}]` : row.host_ip;
    const where = row.host_ip === "*" ? "" : `${host}:`;
    return `${where}${row.published}/${row.protocol}`;
}

export function canRun(cure) {
    return KINDS.includes(cure?.kind) && Array.isArray(cure.argv) && cure.argv[0] === cure.kind;
}

// Runs the cure of a finding, if doctor says the same now; null if it does not.
export async function runCure(finding) {
    const same = (await askFindings()).find(
        one => one.id === finding.id && one.object === finding.object &&
            JSON.stringify(one.cure) === JSON.stringify(finding.cure));
    if (!same || !canRun(same.cure))
        return null;
    const [first, ...rest] = same.cure.argv;
    return run([first === "vfwhooks" ? TOOL : first, ...rest], true);
}
