// lanyard.js - from a web page to a device on a private network: finds devices, picks the best way to
// one that is encrypted and proven to lead to it, and says why when there is none. Needs a secure
// context (https). Makes no plain HTTP request unless the caller asks for the probe; never returns
// a plain HTTP address. README.md has the ladder and the verdicts.

const HELLO_BYTES_MAX = 8192;
const API_BYTES_MAX = 1 << 20;
const API_LIMIT_MS = 10000;
const ZONE_LIMIT_MS = 3000;
const PLAIN_LIMIT_MS = 1400;
const PROMPT_LIMIT_MS = 60000;
// A prompt takes a person longer than this; what fails sooner failed before the browser asked.
const PROMPT_MIN_MS = 400;
// Nobody answers at that address: the kernel says so after 3 s, a resolver that drops after 18 s.
const SLOW_MS = 2000;
const isSlow = (ms) => (ms > 2900 && ms < 3300) || (ms > 17500 && ms < 19000);

// The ladder. `limit`: of one attempt; `patience`: how long after its begin a later rung that has
// succeeded still waits for this one; `headStart`: when the next rung begins beside it, which costs
// a needless connection at most. A ladder on which nothing answers ends after 300 + 500 + 200 + 2900 ms.
const RUNGS = [
    { name: 'gua', kinds: ['gua'], limit: 3000, patience: 1500, headStart: 300 },
    { name: 'lan', kinds: ['lan', 'ula'], limit: 3000, patience: 3000, headStart: 500 },
    { name: 'mapped', kinds: ['mapped'], limit: 2500, patience: 1500, headStart: 200 },
    { name: 'relay', kinds: ['relay'], limit: 2900, patience: 0, headStart: 0 },
];
const REMEMBERED_PATIENCE_MS = 400; // where another rung is known to work

export const VERDICTS = Object.freeze([
    'SECURE_LAN', 'SECURE_IPV6', 'SECURE_REMOTE', 'NEEDS_PERMISSION', 'PERMISSION_DENIED',
    'PROMPT_DISMISSED', 'DNS_FILTERED', 'LAN_BLOCKED', 'DEVICE_UNREACHABLE', 'WRONG_DEVICE',
    'ZONE_BLOCKED_OR_OFFLINE',
]);

/** What the service answered when it was not what was asked for. */
export class LanyardError extends Error {
    constructor(status, problem) {
        super(problem.detail || problem.title || `the service answered ${status}`);
        this.name = 'LanyardError';
        this.status = status;
        this.problem = problem;
    }
}

// ---- bytes and time

const sleep = (ms) => new Promise((wake) => setTimeout(wake, Math.max(0, ms)));
const never = new Promise(() => {});

function base64urlOf(bytes) {
    return btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
}

function bytesOf(base64) {
    return Uint8Array.from(atob(base64.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
}

// RFC 4648 base32 in lower case; 20 bytes need no padding.
function base32Of(bytes) {
    const letters = 'abcdefghijklmnopqrstuvwxyz234567';
    let bits = 0, value = 0, text = '';
    for (const byte of bytes) {
        value = (value << 8) | byte;
        for (bits += 8; bits >= 5; bits -= 5)
            text += letters[(value >>> (bits - 5)) & 31];
        value &= (1 << bits) - 1;
    }
    return text;
}

// The body as JSON, as long as it is at most `max` bytes.
async function readJson(response, max) {
    const reader = response.body.getReader(), decoder = new TextDecoder();
    let text = '', length = 0;
    for (;;) {
        const { done, value } = await reader.read();
        if (done)
            return JSON.parse(text + decoder.decode());
        length += value.length;
        if (length > max) {
            await reader.cancel();
            throw new Error('the answer is too long');
        }
        text += decoder.decode(value, { stream: true });
    }
}

// fetch() and read() of its answer, both within `limitMs`; ended early when `signal` fires.
async function request(url, init, limitMs, signal, read) {
    const own = new AbortController(), stop = () => own.abort();
    const timer = setTimeout(stop, limitMs);
    if (signal) {
        signal.addEventListener('abort', stop);
        if (signal.aborted)
            stop();
    }
    try {
        return await read(await fetch(url, { cache: 'no-store', credentials: 'omit',
            referrerPolicy: 'no-referrer', ...init, signal: own.signal }));
    } finally {
        clearTimeout(timer);
        if (signal)
            signal.removeEventListener('abort', stop);
    }
}

// ---- who is there

/** Whether `hello`, an answer of /v1/hello, is by the holder of `id`'s key and about this nonce. */
export async function verifyHello(id, nonce, hello) {
    try {
        if (hello.id !== id || hello.nonce !== nonce || !Number.isSafeInteger(hello.time))
            return false;
        const spki = bytesOf(hello.key);
        const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', spki));
        if (base32Of(hash.subarray(0, 20)) !== id)
            return false;
        const key = await crypto.subtle.importKey('spki', spki,
            { name: 'ECDSA', namedCurve: 'P-256' }, false, ['verify']);
        const text = `lanyard-hello-v1\n${id}\n${nonce}\n${hello.time}\n`;
        return await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, key,
            bytesOf(hello.signature), new TextEncoder().encode(text));
    } catch {
        return false; // not the shape of a hello
    }
}

// Asks for a hello at `base`: how it ended ('ok', 'wrong' or 'fail') and how long it took.
async function greet(id, base, limitMs, signal, init = {}) {
    const began = performance.now();
    let end = 'fail';
    try {
        const nonce = base64urlOf(crypto.getRandomValues(new Uint8Array(24)));
        const url = new URL(`/v1/hello?nonce=${nonce}`, base);
        const hello = await request(url, init, limitMs, signal, (r) => readJson(r, HELLO_BYTES_MAX));
        if (hello && typeof hello.signature === 'string') // otherwise it is something that knows no hello
            end = await verifyHello(id, nonce, hello) ? 'ok' : 'wrong';
    } catch {
        // one TypeError for name, address, certificate and permission alike: judge() tells them apart
    }
    return { end, ms: performance.now() - began, proof: 'hello' };
}

// Tries one connection. An application may know nothing of hellos: then its certificate is the proof,
// as it is for a name under the device's id and its key never left the device.
async function reach(device, connection, limitMs, signal) {
    const hello = await greet(device.id, helloBase(connection), limitMs, signal);
    const url = new URL(connection.uri);
    if (hello.end !== 'fail' || hello.ms >= limitMs || !url.hostname.endsWith(`.${device.id}.${device.zone}`))
        return hello;
    if (isPrivate(connection) && ['prompt', 'denied'].includes(await permissionState()))
        return hello; // that was the user's answer: do not ask twice
    const began = performance.now();
    let end = 'ok';
    try {
        await request(url.origin, { method: 'HEAD', mode: 'no-cors' }, limitMs - hello.ms, signal, () => null);
    } catch {
        end = 'fail';
    }
    return { end, ms: hello.ms + performance.now() - began, proof: 'certificate' };
}

function helloBase(connection) {
    const url = new URL(connection.uri);
    if (connection.hello_port)
        url.port = connection.hello_port;
    return url.origin;
}

const isPrivate = (connection) => connection.kind === 'lan' || connection.kind === 'ula';

function isSecure(connection) {
    try {
        return new URL(connection.uri).protocol === 'https:';
    } catch {
        return false;
    }
}

// ---- the permission

/** 'granted', 'denied', 'prompt', or 'unsupported' by a browser that does not ask. */
export async function permissionState() {
    for (const name of ['local-network', 'local-network-access']) {
        try {
            return (await navigator.permissions.query({ name })).state;
        } catch {
            // not a name that this browser knows
        }
    }
    return 'unsupported';
}

// Only such a browser lets an https page talk to an http address on the LAN.
const hasTargetAddressSpace = () => 'targetAddressSpace' in Request.prototype;

// ---- the ladder

/** The rungs to try for `device`, in order, with their connections. Pure. */
export function planLadder(device, { permission, ask = false, remembered = null } = {}) {
    const away = device.publicAddressMatches === false;
    const usable = (Array.isArray(device.connections) ? device.connections : []).filter(isSecure);
    const mayLan = permission === 'granted' || (permission === 'unsupported' && !away) ||
        (permission === 'prompt' && ask);
    // At home a mapped port works only when the router sends it back in.
    const mayMapped = away || device.natLoopbackSupported === true;
    let plan = RUNGS.map((rung) => ({
        ...rung, connections: usable.filter((c) => rung.kinds.includes(c.kind)), now: false,
    })).filter((rung) => rung.connections.length > 0 && (rung.name !== 'lan' || mayLan) &&
        (rung.name !== 'mapped' || mayMapped));
    if (away) // an address there is somebody else's here, unless there is a tunnel: last
        plan = [...plan.filter((r) => r.name !== 'lan'), ...plan.filter((r) => r.name === 'lan')];
    const asking = permission === 'prompt' && ask;
    const known = asking ? -1 : plan.findIndex((rung) => rung.name === remembered);
    return plan.map((rung, i) => {
        if (rung.name === 'lan' && asking) // a person reads and decides: nothing overtakes that
            return { ...rung, limit: PROMPT_LIMIT_MS, patience: PROMPT_LIMIT_MS, headStart: PROMPT_LIMIT_MS };
        if (rung.name === 'gua' && asking) // which may make it needless
            return { ...rung, headStart: rung.limit };
        if (i === known)
            return { ...rung, now: true };
        return i < known ? { ...rung, patience: Math.min(rung.patience, REMEMBERED_PATIENCE_MS) } : rung;
    });
}

// Tries the rungs of `plan`: attempt(rung) ends in { end, ... }. The first rung in order that is
// 'ok'; null when none is.
async function climb(plan, attempt) {
    const begun = [], begunAt = [], done = [];
    let best = plan.length; // no rung begins after one that works: it could make the browser ask in vain
    plan.forEach((rung, i) => {
        const turn = i === 0 || rung.now ? Promise.resolve() : Promise.race([
            done[i - 1].then((o) => (o.end === 'ok' ? never : undefined)),
            begun[i - 1].then(() => sleep(plan[i - 1].headStart)),
        ]);
        begun[i] = turn.then(() => (best < i ? never : undefined)).then(() => { begunAt[i] = performance.now(); });
        done[i] = begun[i].then(() => attempt(rung)).then((o) => {
            if (o.end === 'ok')
                best = Math.min(best, i);
            return o;
        });
    });
    for (let i = 0; i < plan.length; i++) {
        const later = Promise.any(done.slice(i + 1).map((d) => d.then((o) => o.end === 'ok' || Promise.reject(o))));
        const overtaken = later.then(() => begun[i], () => never)
            .then(() => sleep(begunAt[i] + plan[i].patience - performance.now()));
        const outcome = await Promise.race([done[i], overtaken]);
        if (outcome && outcome.end === 'ok')
            return { rung: plan[i], ...outcome };
    }
    return null;
}

// All connections of a rung at once: the first that is the device, or how the others failed, and how
// long the slowest took: where there is no IPv6, a ULA that fails at once says nothing of the device.
async function race(device, rung, signal) {
    const ends = rung.connections.map(async (connection) => (
        { connection, ...await reach(device, connection, rung.limit, signal) }));
    try {
        return await Promise.any(ends.map((e) => e.then((o) => (o.end === 'ok' ? o : Promise.reject(o)))));
    } catch {
        const all = await Promise.all(ends);
        return { end: all.some((o) => o.end === 'wrong') ? 'wrong' : 'fail',
            ms: Math.max(...all.map((o) => o.ms)) };
    }
}

// Is the device alive at its LAN address, whatever the resolver says of its name? Answers nothing
// secret, is believed only when signed, and leads to no connection.
async function probePlain(device, signal) {
    let page;
    try {
        page = new URL(device.page);
    } catch {
        return null;
    }
    if (page.protocol !== 'http:' || !hasTargetAddressSpace())
        return null;
    return (await greet(device.id, page.origin, PLAIN_LIMIT_MS, signal, { targetAddressSpace: 'local' })).end;
}

// Does a name of the zone that is not private resolve here, and answer?
async function probeZone(hub, signal) {
    try {
        await request(hub, { mode: 'no-cors' }, ZONE_LIMIT_MS, signal, () => null);
        return true;
    } catch {
        return false;
    }
}

/** The verdict from what was seen. Pure; `seen` is described in lanyard.d.ts. */
export function judge(seen) {
    const { rung, lan, before, after, plain, device } = seen;
    if (rung === 'lan')
        return 'SECURE_LAN';
    if (rung === 'gua')
        return 'SECURE_IPV6';
    const hasLan = (device.connections || []).some(isPrivate);
    if (rung !== null && (!hasLan || device.publicAddressMatches === false))
        return 'SECURE_REMOTE';
    if (rung === null && seen.zone === false)
        return 'ZONE_BLOCKED_OR_OFFLINE';
    if (rung === null && (plain === 'wrong' || seen.wrong))
        return 'WRONG_DEVICE';
    if (hasLan && after === 'denied')
        return 'PERMISSION_DENIED';
    if (hasLan && lan === null && before === 'prompt')
        return device.publicAddressMatches === false ? 'DEVICE_UNREACHABLE' : 'NEEDS_PERMISSION';
    if (lan === null)
        return 'DEVICE_UNREACHABLE';
    if (before === 'prompt' && after === 'prompt' && lan.ms > PROMPT_MIN_MS && !isSlow(lan.ms))
        return 'PROMPT_DISMISSED';
    return judgeLan(seen);
}

// The permission is no obstacle, and the LAN path failed: the name, or what is behind it?
function judgeLan({ rung, lan, plain, device }) {
    if (plain === 'ok')
        return 'DNS_FILTERED';
    if (lan.ms > SLOW_MS || plain === 'fail' || plain === 'wrong')
        return rung === null ? 'DEVICE_UNREACHABLE' : 'LAN_BLOCKED';
    if (rung !== null) // alive, and refused at once here
        return 'DNS_FILTERED';
    return device.online === true && device.dnsRebindingProtection !== false ? 'DNS_FILTERED'
        : 'DEVICE_UNREACHABLE';
}

// ---- memory: which rung worked in which network

function memory(device, options) {
    const network = options.network || device.network;
    let storage = options.storage;
    try {
        storage = storage === undefined ? localStorage : storage;
    } catch {
        // a page without storage: nothing is remembered
    }
    if (!storage || !network)
        return { get: () => null, set() {} };
    const name = `lanyard:${network}:${device.id}`;
    const quietly = (fn) => {
        try {
            return fn();
        } catch {
            return null; // full, or forbidden
        }
    };
    return {
        get: () => quietly(() => storage.getItem(name)),
        set: (rung) => quietly(() => (rung ? storage.setItem(name, rung) : storage.removeItem(name))),
    };
}

/** Finds the best way to `device`. Resolves always; README.md has the verdicts. */
export async function connect(device, options = {}) {
    const began = performance.now(), stop = new AbortController();
    const onStep = options.onStep || (() => {});
    if (options.signal) {
        options.signal.addEventListener('abort', () => stop.abort(), { signal: stop.signal });
        if (options.signal.aborted)
            stop.abort();
    }
    const before = await permissionState();
    const known = memory(device, options);
    const plan = planLadder(device, { permission: before, ask: options.ask, remembered: known.get() });
    const seen = { rung: null, lan: null, wrong: false, zone: null, before, plain: null, device };
    const zone = probeZone(options.hub || `https://hub.${device.zone}/healthz`, stop.signal)
        .then((ok) => { seen.zone = ok; });
    let plain = Promise.resolve();

    const won = await climb(plan, async (rung) => {
        if (stop.signal.aborted) // given up: nothing more is asked, nor is the user
            return { end: 'fail', ms: 0 };
        onStep({ rung: rung.name, state: 'trying' });
        // a request that the browser asks about is left alone: the prompt would vanish with it
        const signal = rung.limit === PROMPT_LIMIT_MS ? undefined : stop.signal;
        const outcome = await race(device, rung, signal);
        if (stop.signal.aborted)
            return outcome;
        seen.wrong = seen.wrong || outcome.end === 'wrong';
        if (rung.name === 'lan') {
            seen.lan = { end: outcome.end, ms: outcome.ms };
            if (outcome.end === 'fail' && outcome.ms < SLOW_MS && options.plainProbe &&
                await permissionState() === 'granted')
                plain = probePlain(device, stop.signal).then((end) => { seen.plain = end; });
        }
        onStep({ rung: rung.name, state: outcome.end, ms: Math.round(outcome.ms) });
        return outcome;
    });
    seen.rung = won ? won.rung.name : null;
    if (seen.rung !== 'gua' && seen.rung !== 'lan')
        await plain;
    if (!won)
        await zone;
    seen.after = await permissionState();
    if (won && seen.lan === null && plan.some((r) => r.name === 'lan') && seen.rung !== 'gua')
        seen.lan = { end: 'fail', ms: SLOW_MS + 1 }; // overtaken: it had not answered
    if (won || !stop.signal.aborted) // to give up says nothing of the network
        known.set(seen.rung);
    stop.abort();
    return {
        verdict: judge(seen),
        uri: won ? new URL(won.connection.uri).origin : null,
        connection: won ? won.connection : null,
        rung: seen.rung,
        proof: won ? won.proof : null,
        permission: seen.after,
        elapsed_ms: Math.round(performance.now() - began),
    };
}

// ---- the service

// The service is where this module came from, unless the caller says another place.
async function call(options, path, init = {}) {
    const url = new URL(path, (options && options.api) || new URL('/', import.meta.url));
    return request(url, init, API_LIMIT_MS, options && options.signal, async (response) => {
        const body = await readJson(response, API_BYTES_MAX).catch(() => ({}));
        if (!response.ok)
            throw new LanyardError(response.status, body);
        return body;
    });
}

const withNetwork = (answer) => (answer.devices || []).map((d) => ({ network: answer.network, ...d }));

/** The devices that show themselves to browsers behind the same public address. */
export async function nearby(options) {
    return withNetwork(await call(options, '/v1/nearby'));
}

/** Turns the code that a device shows into { device, viewer_token }: keep both. */
export async function pair(code, options) {
    const body = JSON.stringify({ code: code.trim().toUpperCase() });
    return call(options, '/v1/pair', { method: 'POST', body, headers: { 'Content-Type': 'application/json' } });
}

const bearer = (token) => ({ headers: { Authorization: `Bearer ${token}` } });
const devicePath = (id) => `/v1/devices/${encodeURIComponent(id)}`;

/** Ends what pair() returned: nobody sees the device with that token any more. */
export async function unpair({ device, viewer_token }, options) {
    await call(options, devicePath(device), { method: 'DELETE', ...bearer(viewer_token) });
}

/** The devices of a vendor's account (`jwt`), or of what pair() returned (`viewers`). A viewer that
 * the device has revoked is left out; `unasked` is how many the service could not be asked about.
 * Rejects when that is all of them. */
export async function devices(options) {
    if (options.jwt)
        return withNetwork(await call(options, '/v1/devices', bearer(options.jwt)));
    const all = await Promise.allSettled((options.viewers || []).map(async ({ device, viewer_token }) => {
        try {
            return await call(options, devicePath(device), bearer(viewer_token));
        } catch (e) {
            if (e instanceof LanyardError && [401, 403, 404].includes(e.status))
                return null;
            throw e;
        }
    }));
    const failed = all.filter((r) => r.status === 'rejected');
    if (failed.length > 0 && failed.length === all.length)
        throw failed[0].reason;
    const found = all.map((r) => r.value).filter((d) => d);
    return Object.assign(found, { unasked: failed.length });
}
