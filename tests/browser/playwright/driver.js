// driver.js - Chromium by playwright-core, at the word of test_playwright.py: a command a line on the
// standard input, its answer a line on the standard output. Arguments: the browser and its flags.

import readline from 'node:readline';
import { chromium } from 'playwright-core';

const [executablePath, ...args] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args });
const whole = await browser.newBrowserCDPSession(); // what it has set lasts as long as it does
let context = null, page = null, complaints = [];

// By the protocol below it: playwright can deny nothing, and grants only the older permission that this
// one was split from, which leaves this one denied.
async function allow(origin, setting) {
    const session = await context.newCDPSession(page);
    const { targetInfo } = await session.send('Target.getTargetInfo');
    await whole.send('Browser.setPermission', { permission: { name: 'local-network' }, setting, origin,
        browserContextId: targetInfo.browserContextId });
    await session.detach();
}

const COMMANDS = {
    async page({ permission, origin }) {
        context = await browser.newContext();
        page = await context.newPage();
        complaints = [];
        page.on('pageerror', (e) => complaints.push(`${e}`));
        if (permission)
            await allow(origin, permission);
    },
    open: ({ url }) => page.goto(url).then(() => null),
    evaluate: ({ expression }) => page.evaluate(expression),
    complaints: () => complaints,
    close: () => context.close(),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
    const { command, ...rest } = JSON.parse(line);
    let answer;
    try {
        answer = { result: await COMMANDS[command](rest) };
    } catch (e) {
        answer = { error: `${e}` };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
