/** The last step of a release: asks the new copy how many notes it shows. `check.mjs URL COUNT` */
const [url, count] = process.argv.slice(2);
const { notes } = await (await fetch(url)).json();
console.log(`${notes.length} notes, ${count} expected`);
if (notes.length !== Number(count)) process.exitCode = 1;
