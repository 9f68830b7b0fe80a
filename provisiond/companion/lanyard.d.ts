export type Kind = 'gua' | 'lan' | 'ula' | 'mapped' | 'relay';
export type Rung = 'gua' | 'lan' | 'mapped' | 'relay';
export type Permission = 'granted' | 'denied' | 'prompt' | 'unsupported';

export type Verdict =
    /** Over its address in this network. */
    | 'SECURE_LAN'
    /** Over a global IPv6 address: no filter and no permission are in the way. */
    | 'SECURE_IPV6'
    /** From another network, or from here by way of the Internet, as nothing shorter is offered. */
    | 'SECURE_REMOTE'
    /** The browser will ask the user: explain, then call connect() with `ask` from a click. */
    | 'NEEDS_PERMISSION'
    /** The user said no: final for the local network. */
    | 'PERMISSION_DENIED'
    /** The user closed the question without an answer: offer it again. */
    | 'PROMPT_DISMISSED'
    /** The router hides private addresses: `device.cure` says what to change. */
    | 'DNS_FILTERED'
    /** The device is alive but does not answer directly: guest network, isolation, a dropped name. */
    | 'LAN_BLOCKED'
    | 'DEVICE_UNREACHABLE'
    /** Something else answers where the device should be, or an answer was not signed by its key. */
    | 'WRONG_DEVICE'
    /** No name of the zone works here: no Internet, or the zone itself is on a block list. */
    | 'ZONE_BLOCKED_OR_OFFLINE';

export interface Connection {
    uri: string;
    address: string;
    port: number;
    kind: Kind;
    local: boolean;
    relay: boolean;
    IPv6: boolean;
    /** Where /v1/hello is, when not at `port`. */
    hello_port?: number;
}

export interface Cure {
    title: string;
    steps: string[];
    /** The exact lines, where there are some. */
    paste?: string | null;
}

/** A device as the service describes it. */
export interface Device {
    id: string;
    zone: string;
    name: string;
    last_seen_at?: number;
    online?: boolean;
    publicAddressMatches?: boolean;
    dnsRebindingProtection?: boolean | 'mixed' | null;
    natLoopbackSupported?: boolean | null;
    product?: string | null;
    cure?: Cure | null;
    key?: string;
    pins?: string[];
    connections: Connection[];
    /** The device's own plain HTTP page: to be opened by the user's click, never by software. */
    page?: string | null;
    /** Which network this browser is in, opaque: the key of what connect() remembers. */
    network?: string;
}

export interface Step {
    rung: Rung;
    /** 'wrong': something answered that is not the device. */
    state: 'trying' | 'ok' | 'fail' | 'wrong';
    ms?: number;
}

export interface ConnectOptions {
    /** The browser may ask the user for the local network now. Set it only in a click's handler. */
    ask?: boolean;
    /** After the name failed at once: one plain HTTP request for the signed /v1/hello of the device's
     * address, to tell a filtered name from a device that is off. Chromium only. Default false. */
    plainProbe?: boolean;
    /** What to fetch to see whether the zone works here. Default https://hub.<zone>/healthz. */
    hub?: string;
    /** Default: the device's own, as nearby() sets it. Without one nothing is remembered. */
    network?: string;
    /** Default localStorage; null remembers nothing. */
    storage?: Storage | null;
    onStep?: (step: Step) => void;
    /** Gives up: no further way is tried, nobody is asked, and what is remembered stays. */
    signal?: AbortSignal;
}

export interface Result {
    verdict: Verdict;
    /** An https origin to use, or null. It may be there with a verdict that is not SECURE_*: then it
     * leads over a longer way, and the verdict says what is in the way of the short one. */
    uri: string | null;
    connection: Connection | null;
    rung: Rung | null;
    /** What showed that it is the device: a hello signed by its identity key, or, where an
     * application answers that knows no hello, the certificate for its name. */
    proof: 'hello' | 'certificate' | null;
    permission: Permission;
    elapsed_ms: number;
}

/** What judge() judges. */
export interface Seen {
    /** That succeeded. */
    rung: Rung | null;
    /** How the LAN rung ended: with `ms` of its slowest connection when none worked; null when not tried. */
    lan: { end: 'ok' | 'fail' | 'wrong'; ms: number } | null;
    /** Some rung had an answer that was not the device's. */
    wrong: boolean;
    /** Whether the control name of the zone works; null: not known yet. */
    zone: boolean | null;
    before: Permission;
    after: Permission;
    plain: 'ok' | 'fail' | 'wrong' | null;
    device: Device;
}

export interface PlannedRung {
    name: Rung;
    connections: Connection[];
    limit: number;
    patience: number;
    headStart: number;
    now: boolean;
}

export interface ServiceOptions {
    /** Origin of the service. Default: where this module came from. */
    api?: string;
    signal?: AbortSignal;
}

export interface Viewer {
    device: string;
    viewer_token: string;
}

export class LanyardError extends Error {
    /** Of HTTP. */
    status: number;
    /** The problem document (RFC 9457), or {}. */
    problem: Record<string, unknown>;
}

export const VERDICTS: readonly Verdict[];
export function connect(device: Device, options?: ConnectOptions): Promise<Result>;
export function nearby(options?: ServiceOptions): Promise<Device[]>;
export function pair(code: string, options?: ServiceOptions): Promise<Viewer>;
export function unpair(viewer: Viewer, options?: ServiceOptions): Promise<void>;
export function devices(options: ServiceOptions & { jwt?: string; viewers?: Viewer[] }): Promise<Device[] & { unasked?: number }>;
export function permissionState(): Promise<Permission>;
export function verifyHello(id: string, nonce: string, hello: unknown): Promise<boolean>;
export function planLadder(
    device: Device,
    options?: { permission?: Permission; ask?: boolean; remembered?: Rung | null },
): PlannedRung[];
export function judge(seen: Seen): Verdict;
