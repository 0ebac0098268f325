/*
 * Refuses a Node that is too old to run the set-up, in one sentence. Written in the syntax of 2009, because a
 * newer one would be a syntax error on the very machines that it speaks to.
 */
/** The oldest Node that runs scripts/setup.mjs; the set-up then brings the version that Holdfast itself runs on. */
var NODE_MAJOR_MIN = 18;

/** One sentence for a version such as "16.20.2" that is too old; undefined for one that will do. */
function nodeProblem(version) {
  if (parseInt(version, 10) >= NODE_MAJOR_MIN) return undefined;
  return (
    "Holdfast's set-up needs Node " +
    NODE_MAJOR_MIN +
    " or newer and this is Node " +
    version +
    "; install a newer one, any release from " +
    NODE_MAJOR_MIN +
    " will do."
  );
}

var problem = nodeProblem(process.argv[2] || process.versions.node);
if (problem) {
  console.error("error: " + problem);
  process.exit(1);
}
