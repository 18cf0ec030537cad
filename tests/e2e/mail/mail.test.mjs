// What the platform sends, read by mailparser.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { simpleParser } from 'mailparser';

const box = process.env.MAIL_BOX;
const files = readdirSync(box).filter((name) => name.endsWith('.eml'));
const subjects = new Set();
const names = ['date', 'from', 'to', 'subject', 'message-id', 'auto-submitted', 'x-auto-response-suppress', 'mime-version',
  'content-type'];

for (const file of files) {
  test(file, async () => {
    const bytes = readFileSync(join(box, file));
    const mail = await simpleParser(bytes, { skipHtmlToText: true, skipTextToHtml: true, skipTextLinks: true });
    const russian = /[а-я]/i.test(mail.text.split('\n')[0]);
    subjects.add(mail.subject);

    assert.deepEqual([...mail.headers.keys()].sort(), [...names].sort(), 'no header but ours');
    assert.deepEqual(mail.from.value, [{ name: 'Самовар "the big one"', address: 'samovar@example.org' }]);
    assert.deepEqual(mail.to.value.map((to) => to.address), ['anna@example.org']);
    assert.match(mail.messageId, /^<[0-9a-f-]{36}@example\.org>$/);
    assert.ok(Math.abs(Date.now() - mail.date.getTime()) < 600000, 'sent now');
    assert.equal(mail.headers.get('auto-submitted'), 'auto-generated');
    assert.equal(mail.headers.get('content-type').value, 'multipart/alternative');
    assert.equal(mail.attachments.length, 0);
    assert.ok(mail.subject.length > 5 && !/[\r\n]|=\?|\ufffd/.test(mail.subject), mail.subject);

    const link = 'https://example.org/go?a=1&b=2#c';
    assert.ok(mail.text.split(/\r?\n/).includes(link), 'the link has a line of its own');
    assert.ok(mail.text.includes('192.0.2.1, <b>today</b>'));
    assert.ok(!/^(Bcc|X-Injected):/m.test(mail.text), 'values make no lines');
    assert.ok(!mail.text.includes('evil.example'), 'names make no links');
    assert.ok(mail.html.includes(`<html lang="${russian ? 'ru' : 'en'}">`));
    assert.deepEqual([...new Set([...mail.html.matchAll(/href="([^"]*)"/g)].map((m) => m[1]))], [link.replace('&', '&amp;')]);
    assert.ok(!/<script|<img|<b>today|src=|url\(|onerror/i.test(mail.html), 'nothing of the values is HTML');
    assert.ok(mail.html.includes('&lt;script&gt;alert(1)&lt;/script&gt; &quot;Anna&quot; Bcc: all@example.'));
    for (const part of [mail.text, mail.html]) assert.ok(part.includes('Рога'), 'the organization is named');

    for (const line of bytes.toString('latin1').split('\r\n')) {
      assert.ok(line.length <= 200 && !/[\r\n\x80-\xff]/.test(line), 'short lines of ASCII');
    }
  });
}

test('eight templates in two languages', () => {
  assert.equal(files.length, 16);
  assert.equal(subjects.size, 16);
});
