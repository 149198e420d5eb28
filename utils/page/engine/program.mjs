// The WebAssembly program behind functions that take and give plain arrays: all that knows of addresses is here.

const LAYERS = 4; // linear layers of a block
const PANEL = 8; // the program computes 8 columns at a time, so a rank is rounded up to that
const CAPACITY = 512; // tokens of one pass; a step or a measurement that has more takes several

/** One model and at most one run, in a memory of its own. */
export class Program {
  /**
   * @param {BufferSource} wasm - engine.wasm
   * @param {object} config - GPT-2's config.json
   */
  static async load(wasm, config) {
    checkShapes(config);
    const { instance } = await WebAssembly.instantiate(wasm);
    return new Program(instance.exports, config);
  }

  constructor(calls, config) {
    this.calls = calls;
    this.config = config;
    this.capacity = Math.max(CAPACITY, config.n_positions);
    const { vocab_size, n_positions, n_embd, n_head, n_layer, layer_norm_epsilon } = config;
    this.base = calls.load(vocab_size, n_positions, n_embd, n_head, n_layer, layer_norm_epsilon, this.capacity);
    this.weightCount = calls.weight_count();
  }

  /** @param {Float32Array} weights - all of them, in the order of GPT-2's state_dict */
  setWeights(weights) {
    this.floats(this.base, this.weightCount).set(weights);
    this.startLora(1, 0, 1, 0);
  }

  // --- A run ---------------------------------------------------------------------------------------------------------
  /** LoRA: `targets` has a bit for each kind of layer that gets an adapter. All A and B are zero. */
  startLora(rank, targets, scale, dropout) {
    this.rank = Math.ceil(rank / PANEL) * PANEL;
    this.scale = scale;
    this.begin(() => this.calls.start_lora(this.rank, targets, scale, dropout));
  }

  /** Full fine-tuning, of a copy of the weights. */
  startFull() {
    this.scale = 1;
    this.begin(() => this.calls.start_full());
  }

  begin(start) {
    try {
      start();
      const lists = ["start", "ids", "targets", "from", "nats", "agreed", "instead", "after"];
      this.lists = Object.fromEntries(lists.map((name) => [name, this.calls.take(4 * (this.capacity + 1))]));
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      throw new Error("There is not enough memory for this run; close other tabs, or choose LoRA or a lower rank.");
    }
  }

  /** The base's own dropout: on the embeddings, and on what joins the residual stream. */
  setBaseDropout(onEmbedding, onResidual) {
    this.calls.base_dropout(onEmbedding, onResidual);
  }

  /** Writes A [rank, inputs] of a layer; B stays zero. */
  setLoraA(block, layer, a, rank) {
    const inputs = a.length / rank;
    const down = this.floats(this.calls.adapter(block, layer), inputs * this.rank); // A', [inputs, this.rank]
    for (let r = 0; r < rank; r++) for (let i = 0; i < inputs; i++) down[i * this.rank + r] = a[r * inputs + i];
  }

  /** The layers with an adapter, in the order of a forward pass: [block, layer, inputs, outputs]. */
  *layers(targets) {
    const width = this.config.n_embd;
    const shapes = [[1, 3], [1, 1], [1, 4], [4, 1]]; // prettier-ignore
    for (let block = 0; block < this.config.n_layer; block++) {
      for (let layer = 0; layer < LAYERS; layer++) {
        const [inputs, outputs] = shapes[layer];
        if ((targets >> layer) & 1) yield [block, layer, inputs * width, outputs * width];
      }
    }
  }

  /**
   * Adds the gradient of the mean loss over all tokens of these rows.
   * @returns {number} the sum of nats
   */
  accumulate(rows, seed, step) {
    // Divided by all tokens, as TRL does, and not by those that are predicted, which are one a row fewer.
    const share = 1 / rows.reduce((sum, row) => sum + row.length, 0);
    let nats = 0;
    for (const [first, some] of this.passes(rows)) {
      this.write(some);
      const { start, ids, targets } = this.lists;
      nats += this.calls.accumulate(some.length, start, ids, targets, share, seed, step, first);
    }
    return nats;
  }

  /** One step of the optimiser at this learning rate. @returns {number} the norm of the gradient before it was clipped */
  update(rate) {
    return this.calls.update(rate);
  }

  /** 1: as trained; 0: the base. */
  strength(s) {
    this.calls.strength(this.scale, s);
  }

  // --- Asking --------------------------------------------------------------------------------------------------------
  /**
   * One forward pass over rows of tokens, scored from token `from[i]` of row i on (at least 1).
   * The last token of a row may be -1: it is not scored, and the likeliest token there is given as `after`.
   * @returns {{nats: number, agreed: number, instead: number, after: number}[]} for each row: the sum of nats; with how many
   * tokens the likeliest ones agree, up to the first that they do not; what they have in its place, or -1; and `after`, or -1
   */
  score(rows, from) {
    return this.passes(rows).flatMap(([first, some]) => {
      this.write(some);
      const positions = from.slice(first, first + some.length).map((token) => token - 1); // each predicts the token behind it
      this.ints("from", some.length).set(positions);
      const at = this.lists;
      this.calls.score(some.length, at.start, at.ids, at.targets, at.from, at.nats, at.agreed, at.instead, at.after);
      const nats = this.floats(at.nats, some.length);
      const agreed = this.ints("agreed", some.length);
      const instead = this.ints("instead", some.length);
      const after = this.ints("after", some.length);
      return some.map((_, i) => ({ nats: nats[i], agreed: agreed[i], instead: instead[i], after: after[i] }));
    });
  }

  /**
   * Greedy decoding with a key/value cache.
   * @param {number[]} prompt - tokens, at least one
   * @param {number} room - how many tokens may follow; none past the model's context
   * @param {number} end - the token that ends a text
   * @returns {number[]} what follows, without the end
   */
  complete(prompt, room, end) {
    const said = [];
    let known = 0;
    while (said.length < room && prompt.length + said.length < this.config.n_positions) {
      const ids = [...prompt, ...said];
      this.ints("ids", ids.length).set(ids);
      const token = this.calls.next_token(ids.length, this.lists.ids, known);
      if (token === end) break;
      said.push(token);
      known = ids.length;
    }
    return said;
  }

  /** The logits [vocabulary] of what follows these tokens, of which the first `known` were read before. */
  logits(ids, known = 0) {
    this.ints("ids", ids.length).set(ids);
    this.calls.next_token(ids.length, this.lists.ids, known);
    return this.floats(this.calls.logits(), this.config.vocab_size).slice();
  }

  // --- Memory --------------------------------------------------------------------------------------------------------
  /** Whole rows in groups that fit one pass: [index of the first one, rows]. */
  passes(rows) {
    const passes = [];
    let room = 0;
    rows.forEach((row, i) => {
      const tokens = row.length - 1; // the last one is predicted and not read
      if (tokens > room) {
        passes.push([i, []]);
        room = this.capacity;
      }
      passes.at(-1)[1].push(row);
      room -= tokens;
    });
    return passes;
  }

  write(rows) {
    const start = this.ints("start", rows.length + 1);
    start[0] = 0;
    rows.forEach((row, i) => (start[i + 1] = start[i] + row.length - 1));
    this.ints("ids", start[rows.length]).set(rows.flatMap((row) => row.slice(0, -1)));
    this.ints("targets", start[rows.length]).set(rows.flatMap((row) => row.slice(1)));
  }

  // Views are made anew each time: those from before the memory grew are empty.
  ints(list, count) {
    return new Int32Array(this.calls.memory.buffer, this.lists[list], count);
  }

  floats(address, count) {
    return new Float32Array(this.calls.memory.buffer, address, count);
  }

  /** What is trained, as a view of the program's own memory. After a change, `strength` lays it out anew. */
  get trained() {
    return this.floats(this.calls.trained(), this.calls.trained_count());
  }

  /** The gradient of that. */
  get gradient() {
    return this.floats(this.calls.gradient(), this.calls.trained_count());
  }

  get bytes() {
    return this.calls.memory.buffer.byteLength;
  }
}

function checkShapes(config) {
  const { n_embd: width, n_head: heads, vocab_size: vocabulary, n_inner: inner, attn_pdrop, activation_function } = config;
  const refuse = (name, value, must) => {
    throw new Error(`config.json has ${name} ${value}; this engine needs ${must}.`);
  };
  if (config.model_type !== "gpt2") refuse("model_type", config.model_type, "gpt2");
  if (width % 8) refuse("n_embd", width, "a multiple of 8");
  if (width % (8 * heads)) refuse("n_head", heads, `heads of a multiple of 8, out of a width of ${width}`);
  if (vocabulary % 8) refuse("vocab_size", vocabulary, "a multiple of 8");
  if (inner && inner !== 4 * width) refuse("n_inner", inner, `null or ${4 * width}`);
  if (attn_pdrop) refuse("attn_pdrop", attn_pdrop, "0: there is no dropout on attention weights");
  if (!["gelu_new", "gelu_pytorch_tanh"].includes(activation_function)) {
    refuse("activation_function", activation_function, "gelu_new or gelu_pytorch_tanh");
  }
}
