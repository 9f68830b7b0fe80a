// page.js - "Find my devices": what lanyard.js finds, said in words, with what to do about it.
// Everything that comes from a device or the service becomes text, never markup.

import { connect, devices, nearby, pair, unpair, LanyardError } from './lanyard.js';

const VIEWERS = 'lanyard:viewers'; // in localStorage: what pair() returned
const AT_ONCE = 4; // devices tried side by side

const page = document.documentElement.dataset;
const service = page.api ? { api: page.api } : {};
const list = document.getElementById('devices');
const status = document.getElementById('status');

const RUNG = {
    gua: 'over IPv6',
    lan: 'over this network',
    mapped: 'through the router’s open port',
    relay: 'through the relay',
};
const STATE = {
    trying: 'trying …',
    ok: 'works',
    fail: 'no answer',
    wrong: 'something else answers there',
};

// look: the colour; say: what it means (`over` when a longer way works); and which help to offer.
const SAY = {
    SECURE_LAN: { look: 'good', title: 'Connected, directly over this network' },
    SECURE_IPV6: { look: 'good', title: 'Connected, directly over IPv6' },
    SECURE_REMOTE: { look: 'good', title: 'Connected, over the Internet' },
    NEEDS_PERMISSION: {
        look: 'warn', title: 'Your browser will ask for permission', ask: 'Continue',
        say: 'This device is on your local network. When you continue, your browser asks whether this '
            + 'page may reach devices there. The connection is encrypted, and only used for the devices listed here.',
        over: 'It works over the Internet meanwhile. For the direct way, which is faster, your browser asks '
            + 'whether this page may reach devices on your local network.',
    },
    PROMPT_DISMISSED: {
        look: 'warn', title: 'The permission question was closed', ask: 'Ask me again',
        say: 'Without an answer your browser does not let this page reach the device.',
        over: 'It works over the Internet meanwhile, which is slower.',
    },
    PERMISSION_DENIED: {
        look: 'warn', title: 'This page may not use your local network', permission: true,
        say: 'You told your browser not to let this page reach devices on your network, so it did not try.',
        over: 'You told your browser not to let this page reach devices on your network. '
            + 'The device works over the Internet instead, which is slower.',
    },
    DNS_FILTERED: {
        look: 'warn', title: 'Your router hides the device', cure: true,
        say: 'The device is on, but your router removes its address when this computer looks up its name. '
            + 'That is a protection called “DNS rebinding protection”. It needs one exception:',
        over: 'It works over the Internet meanwhile, which is slower: your router removes the device’s '
            + 'address when this computer looks up its name. One exception makes it fast:',
    },
    LAN_BLOCKED: {
        look: 'warn', title: 'No direct way in this network', checks: true,
        say: 'The device is on, but this computer cannot reach it directly.',
        over: 'The device works over the Internet, which is slower, but this computer cannot reach it directly.',
    },
    DEVICE_UNREACHABLE: {
        look: 'bad', title: 'The device does not answer', checks: true,
        say: 'It may be switched off, still be starting, or be in another network.',
    },
    WRONG_DEVICE: {
        look: 'bad', title: 'Something else answers in its place', checks: true,
        say: 'Another device has this one’s address, which is usual when you are in another network. '
            + 'It was only asked who it is.',
    },
    ZONE_BLOCKED_OR_OFFLINE: {
        look: 'bad', title: 'No Internet, or its names are blocked',
        say: 'This computer cannot look up any name of the device’s domain. If other web sites work, a block '
            + 'list in your router, your browser or a filter program contains it: allow this domain there.',
        domain: true,
    },
};

// ---- making elements

function make(tag, props = {}, ...children) {
    const node = Object.assign(document.createElement(tag), props);
    node.append(...children.filter((c) => c !== null));
    return node;
}

const button = (text, onclick, className = '') => (
    make('button', { type: 'button', textContent: text, onclick, className }));

// Only where a link cannot run anything here.
function link(text, href, className) {
    const url = new URL(href);
    if (url.protocol !== 'https:' && url.protocol !== 'http:')
        return null;
    return make('a', { textContent: text, href: url.href, className, rel: 'noreferrer' });
}

const bullets = (tag, items) => make(tag, {}, ...items.map((text) => make('li', { textContent: text })));

// ---- help

let cures = null; // the products that filter, fetched when first needed

async function loadCures() {
    if (cures === null) {
        const answer = await fetch('cures.json');
        cures = answer.ok ? await answer.json() : [];
    }
    return cures;
}

function copyButton(text) {
    const node = button('Copy', async () => {
        try {
            await navigator.clipboard.writeText(text);
            node.textContent = 'Copied';
        } catch {
            node.textContent = 'Copying is not allowed: mark it by hand';
        }
    });
    return node;
}

function cureOf(device) {
    const place = make('div', { className: 'cure' });
    const put = (text) => text.replaceAll('{zone}', device.zone);
    const show = (cure) => place.replaceChildren(...[
        make('h3', { textContent: put(cure.title) }),
        bullets('ol', cure.steps.map(put)),
        cure.paste ? make('pre', { tabIndex: 0, textContent: put(cure.paste) }) : null,
        cure.paste ? copyButton(put(cure.paste)) : null,
    ].filter((n) => n !== null));
    const choice = make('select', {}, make('option', { textContent: 'Choose …', value: '' }));
    const chooser = make('label', { className: 'chooser', hidden: true },
        device.cure ? 'Another router? ' : 'Your router: ', choice);
    choice.onchange = () => cures[choice.value] && show(cures[choice.value]);
    loadCures().then((all) => {
        choice.append(...all.map((c, i) => make('option', { textContent: c.title, value: i })));
        chooser.hidden = all.length === 0;
    }).catch(() => {});
    if (device.cure)
        show(device.cure);
    else
        place.append(make('p', {}, 'Add ', make('code', { textContent: device.zone }),
            ' to the exceptions of your router’s DNS rebinding protection.'));
    return make('div', {}, place, chooser, make('p', { className: 'soft',
        textContent: 'This is safe: a name of this domain never changes its address. Then test again.' }));
}

function checksOf() {
    return make('details', {}, make('summary', { textContent: 'What to check' }), bullets('ul', [
        'Is the device switched on and connected to the network? It may need two minutes after switching on.',
        'Is this computer or phone in the same network, and not in a guest network or behind a VPN?',
        'Does the Wi-Fi keep its members apart? The option is called “client isolation” or “AP isolation”.',
    ]));
}

function permissionHelp() {
    return make('details', {}, make('summary', { textContent: 'How to allow it' }), bullets('ol', [
        'Click the symbol to the left of this page’s address.',
        'Set “Local network” (also “Apps on device”, “Local network devices”) to “Allow”.',
        'Come back here and test again.',
    ]));
}

// ---- one device

function ago(seconds) {
    const units = [[86400, 'day'], [3600, 'hour'], [60, 'minute']];
    const [size, unit] = units.find(([s]) => seconds >= s) || [1, 'second'];
    return new Intl.RelativeTimeFormat('en', { numeric: 'auto' }).format(-Math.round(seconds / size), unit);
}

class Card {
    constructor(device) {
        this.device = device;
        this.verdict = make('p', { className: 'verdict', role: 'status' });
        this.body = make('div');
        this.steps = make('ul', { className: 'steps' });
        this.node = make('li', { className: 'device' },
            make('h2', { textContent: device.name || 'Device without a name' }),
            this.seen(), this.verdict, this.body,
            make('details', {}, make('summary', { textContent: 'What was tried' }), this.steps), this.remover());
        this.node.dataset.id = device.id;
    }

    seen() {
        const { last_seen_at: at, online } = this.device;
        if (!at)
            return null;
        const text = online ? 'In contact with its service'
            : `Last heard of ${ago(Math.max(0, Date.now() / 1000 - at))}`;
        return make('p', { className: 'soft', textContent: text });
    }

    // Only what was added by a code can be taken away again.
    remover() {
        const viewer = viewers().find((v) => v.device === this.device.id);
        return viewer ? make('p', {}, button('Remove from this list', () => this.remove(viewer))) : null;
    }

    async remove(viewer) {
        keepViewers(viewers().filter((v) => v.device !== viewer.device));
        await unpair(viewer, service).catch(() => {}); // the token is forgotten here all the same
        await refresh();
        status.tabIndex = -1;
        status.focus();
    }

    step({ rung, state, ms }) {
        let line = this.steps.querySelector(`[data-rung="${rung}"]`);
        if (!line) {
            line = make('li');
            line.dataset.rung = rung;
            this.steps.append(line);
        }
        line.textContent = `${RUNG[rung]}: ${STATE[state]}${ms === undefined ? '' : ` (${ms} ms)`}`;
    }

    // `clicked`: by the user, so that the browser may ask, and one plain probe may be sent.
    async test({ ask = false, clicked = false } = {}) {
        const focused = this.body.contains(document.activeElement);
        this.node.className = 'device';
        this.node.removeAttribute('data-verdict');
        this.verdict.textContent = ask ? 'Answer the question of your browser …' : 'Looking for a secure way …';
        this.body.replaceChildren();
        this.steps.replaceChildren();
        const result = await connect(this.device, {
            ask, plainProbe: clicked, onStep: (s) => this.step(s),
            hub: page.hub ? page.hub.replace('{zone}', this.device.zone) : undefined,
        });
        this.show(result);
        const first = this.body.querySelector('.actions > *');
        if (focused && first)
            first.focus(); // the clicked button is gone: its place is the next one
    }

    show({ verdict, uri, rung, elapsed_ms }) {
        const { device } = this, { look, title, say, over, ask, cure, permission, checks, domain } = SAY[verdict];
        const again = ask ? null : button('Test again', () => this.test({ clicked: true }));
        this.node.className = `device ${look}`;
        this.node.dataset.verdict = verdict;
        this.node.dataset.rung = rung || '';
        this.node.dataset.ms = elapsed_ms;
        performance.mark('verdict'); // for whoever measures
        this.verdict.textContent = title;
        const text = uri ? over : say;
        this.body.replaceChildren(...[
            text ? make('p', { textContent: text }) : null,
            domain ? make('p', {}, make('code', { textContent: device.zone })) : null,
            cure ? cureOf(device) : null,
            make('div', { className: 'actions' },
                ask ? button(ask, () => this.test({ ask: true, clicked: true }), 'main') : null,
                uri ? link('Open', uri, ask ? 'button' : 'button main') : null, again),
            permission ? permissionHelp() : null,
            checks ? checksOf() : null,
            uri || !device.page || verdict === 'WRONG_DEVICE' ? null : this.ownPage(),
            this.steps.children.length ? null
                : make('p', { className: 'soft', textContent: 'Nothing was sent to the device.' }),
        ].filter((n) => n !== null));
        this.steps.parentElement.hidden = this.steps.children.length === 0;
    }

    ownPage() {
        const to = link('Open the device’s own page', this.device.page, '');
        return to && make('p', { className: 'soft' }, to,
            ' – without encryption: others in this network can read along. Enter no password there.');
    }
}

// ---- all devices

let unstored = null; // what the browser would not keep for us: holds until the page is closed

function viewers() {
    if (unstored)
        return unstored;
    try {
        const kept = JSON.parse(localStorage.getItem(VIEWERS));
        return Array.isArray(kept) ? kept.filter((v) => v && v.device && v.viewer_token) : [];
    } catch {
        return []; // no storage, or not ours
    }
}

function keepViewers(list) {
    try {
        localStorage.setItem(VIEWERS, JSON.stringify(list));
        unstored = null;
    } catch {
        unstored = list; // full, or forbidden
    }
}

// Once more where the network failed and not the service: a computer that wakes up, or changes networks.
const twice = (ask) => ask().catch(async (e) => {
    if (!(e instanceof TypeError))
        throw e;
    await new Promise((wake) => setTimeout(wake, 1000));
    return ask();
});

async function find() {
    const [near, own] = await Promise.allSettled([twice(() => nearby(service)),
        twice(() => devices({ ...service, viewers: viewers() }))]);
    const all = new Map();
    for (const answer of [near, own])
        for (const device of answer.value || [])
            all.set(device.id, { ...all.get(device.id), ...device });
    const network = (near.value || []).map((d) => d.network).find((n) => n);
    const failed = all.size === 0 && (near.status === 'rejected' || own.status === 'rejected');
    const unasked = own.status === 'rejected' ? viewers().length : own.value.unasked || 0;
    return { all: [...all.values()].map((d) => ({ network, ...d })), failed, unasked };
}

async function refresh() {
    status.textContent = 'Looking for devices near you …';
    const { all, failed, unasked } = await find();
    const cards = all.map((device) => new Card(device));
    list.replaceChildren(...cards.map((c) => c.node));
    if (failed)
        status.replaceChildren('The service could not be reached. ', button('Try again', refresh));
    else if (cards.length === 0)
        status.replaceChildren('No device near you has reported. ', button('Look again', refresh));
    else
        status.textContent = cards.length === 1 ? 'One device found.' : `${cards.length} devices found.`;
    if (!failed && unasked > 0)
        status.append(` The service gave no answer about ${unasked} of yours. `, button('Try again', refresh));
    const waiting = [...cards];
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
        while (waiting.length > 0)
            await waiting.shift().test();
    }));
}

document.getElementById('pair').addEventListener('submit', async (event) => {
    event.preventDefault();
    const message = document.getElementById('pair-message'), input = event.target.elements.code;
    message.textContent = 'Checking the code …';
    try {
        const viewer = await pair(input.value, service);
        keepViewers([...viewers().filter((v) => v.device !== viewer.device), viewer]);
        message.textContent = 'Added.';
        input.value = '';
        await refresh();
    } catch (e) {
        message.textContent = e instanceof LanyardError && e.status === 429 ? 'Too many tries: wait a few minutes.'
            : e instanceof LanyardError ? 'This code is not valid, or no longer: the device can show a new one.'
                : 'The service could not be reached.';
    }
});

refresh();
